-- make docs writes this file.
select
    deployment_id,
    application,
    from_version,
    to_version,
    method
from {{ source('compose', 'deployment_versions') }}
