select
    deployments.deployment_id,
    deployments.deployment_name,
    deployments.type,
    transitions.from_version,
    running.status as from_status,
    transitions.to_version,
    offered.status as to_status,
    coalesce(offered.preferred, false) as is_preferred,
    bool_or(transitions.method = 'in_place') as is_in_place_possible,
    bool_or(transitions.method = 'restore') as is_restore_possible
from {{ ref('stg_compose__deployment_versions') }} as transitions
inner join {{ ref('stg_compose__deployments') }} as deployments
    on transitions.deployment_id = deployments.deployment_id
left join {{ ref('stg_compose__database_versions') }} as running
    on
        transitions.application = running.application
        and transitions.from_version = running.version
left join {{ ref('stg_compose__database_versions') }} as offered
    on
        transitions.application = offered.application
        and transitions.to_version = offered.version
group by 1, 2, 3, 4, 5, 6, 7, 8
