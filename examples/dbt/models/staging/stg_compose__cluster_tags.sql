select
    clusters.id as cluster_id,
    item.text as tag
from {{ source('compose', 'clusters') }} as clusters
cross join lateral {{ json_items('clusters.tags') }} as item
