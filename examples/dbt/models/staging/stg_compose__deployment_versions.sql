select
    deployment_id,
    application,
    from_version,
    to_version,
    method
from {{ current_rows('deployment_versions', 'deployment_id') }} as versions
