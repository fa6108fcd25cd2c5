select
    id as recipe_id,
    account_id,
    deployment_id,
    parent_id,
    name as recipe_name,
    template,
    status,
    {{ hashed('source_user') }} as source_user,
    created_at,
    updated_at
from {{ loaded_rows('deployment_recipes') }} as recipes
