-- make docs writes this file.
select
    {{ hashed('id') }} as user_id,
    {{ hashed('name') }} as user_name
from {{ source('compose', 'user') }}
