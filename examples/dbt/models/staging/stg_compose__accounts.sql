-- make docs writes this file.
select
    id as account_id,
    name as account_name,
    slug
from {{ source('compose', 'accounts') }}
