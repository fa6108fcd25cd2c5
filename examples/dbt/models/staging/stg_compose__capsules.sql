-- The deployment of each capsule that a log file or an alert has ever named.
select
    capsule_id,
    max(deployment_id) as deployment_id
from (
    select capsule_id, deployment_id from {{ loaded_rows('deployment_logfiles') }} as logfiles
    union all
    select capsule_id, deployment_id from {{ loaded_rows('deployment_alerts') }} as alerts
) as named
where capsule_id is not null
group by capsule_id
