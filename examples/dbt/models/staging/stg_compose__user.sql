-- make docs writes this file.
select
    id as user_id,
    {{ hashed('name') }} as user_name
from {{ source('compose', 'user') }}
