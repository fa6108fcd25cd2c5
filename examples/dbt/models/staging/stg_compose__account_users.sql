-- make docs writes this file.
select
    account_id,
    {{ hashed('id') }} as user_id,
    {{ hashed('name') }} as user_name
from {{ source('compose', 'account_users') }}
