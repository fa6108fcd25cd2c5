-- make docs writes this file.
select
    type,
    status,
    display_name
from {{ source('compose', 'databases') }}
