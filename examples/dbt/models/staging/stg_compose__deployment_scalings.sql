select
    deployment_id,
    allocated_units,
    used_units,
    starting_units,
    minimum_units,
    memory_per_unit_in_mb,
    storage_per_unit_in_mb,
    unit_size_in_mb,
    unit_type
from {{ current_rows('deployment_scalings', 'deployment_id') }} as scalings
