-- An empty whitelist lets everybody in. A deployment whose details are missing could not be read, so
-- nothing is known of its whitelist.
with entries as (
    select
        *,
        position(':' in ip) > 0 as is_ipv6,
        nullif(split_part(ip, '/', 2), '') as prefix
    from {{ ref('stg_compose__deployment_whitelist') }}
),

networks as (
    select
        *,
        case
            when prefix is null then case when is_ipv6 then 128 else 32 end
            when prefix ~ '^[0-9]{1,3}$' then cast(prefix as integer)
        end as prefix_length
    from entries
)

select
    deployments.deployment_id,
    deployments.deployment_name,
    case
        when networks.deployment_id is null then 'empty'
        when networks.prefix_length is null then 'unreadable'
        else 'wide'
    end as reason,
    networks.whitelist_id,
    networks.ip,
    networks.prefix_length,
    networks.description
from {{ ref('stg_compose__deployments') }} as deployments
left join networks on deployments.deployment_id = networks.deployment_id
where
    deployments.account_id is not null
    and (
        networks.deployment_id is null
        or networks.prefix_length is null
        or networks.prefix_length < case
            when networks.is_ipv6 then {{ var('widest_allowed_ipv6') }}
            else {{ var('widest_allowed_ipv4') }}
        end
    )
