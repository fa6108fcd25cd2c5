select
    id as account_id,
    name as account_name
from {{ current_rows('accounts') }} as accounts
