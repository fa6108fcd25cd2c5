select
    account_id,
    {{ hashed('id') }} as user_id,
    {{ hashed('name') }} as user_name
from {{ current_rows('account_users') }} as users
