-- make docs writes this file.
select
    id as cluster_id,
    account_id,
    account_slug,
    name as cluster_name,
    type,
    multitenant,
    provider,
    region,
    subdomain,
    created_at
from {{ source('compose', 'clusters') }}
