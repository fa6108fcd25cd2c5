-- make docs writes this file.
select
    account_id,
    id as user_id,
    {{ hashed('name') }} as user_name
from {{ source('compose', 'account_users') }}
