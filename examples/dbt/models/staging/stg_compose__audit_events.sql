select
    id as event_id,
    account_id,
    deployment_id,
    cluster_id,
    {{ hashed('user_id') }} as user_id,
    {{ hashed('email') }} as email,
    created_at,
    event,
    {{ hashed('ip') }} as ip,
    {{ hashed('user_agent') }} as user_agent
from {{ loaded_rows('audit_events') }} as events
