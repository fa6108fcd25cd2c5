select
    deployment_id,
    summary,
    alert_count
from {{ current_rows('deployment_health', 'deployment_id') }} as health
