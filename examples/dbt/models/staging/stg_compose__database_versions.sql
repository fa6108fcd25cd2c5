select
    application,
    version,
    status,
    preferred
from {{ current_rows('database_versions') }} as versions
