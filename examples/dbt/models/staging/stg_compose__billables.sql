select
    id as billable_id,
    account_id,
    amount,
    start_at,
    end_at,
    description,
    identifier,
    resource_identifier,
    sku,
    units,
    replaces_id
from {{ current_rows('billables') }} as billables
