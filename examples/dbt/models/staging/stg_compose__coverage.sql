-- make docs writes this file.
select
    stream,
    deployment_id,
    outcome,
    http_status,
    reason,
    row_count,
    read_at
from {{ source('compose', 'coverage') }}
