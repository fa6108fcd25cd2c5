-- make docs writes this file.
select
    region,
    provider,
    slug
from {{ source('compose', 'datacenters') }}
