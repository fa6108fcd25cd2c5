-- What the last run that asked for a stream, of a deployment or of the account (''), made of it.
select
    stream,
    case when deployment_id = '-' then '' else coalesce(deployment_id, '') end as deployment_id,
    outcome,
    http_status,
    reason,
    row_count,
    read_at
from {{ loaded_rows('coverage') }} as coverage
