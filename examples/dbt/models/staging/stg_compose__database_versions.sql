-- make docs writes this file.
select
    application,
    version,
    status,
    preferred
from {{ source('compose', 'database_versions') }}
