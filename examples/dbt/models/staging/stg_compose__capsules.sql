-- The deployment of each capsule that a log file or an alert has ever named.
select distinct
    capsule_id,
    deployment_id
from (
    select capsule_id, deployment_id from {{ loaded_rows('deployment_logfiles') }} as logfiles
    union
    select capsule_id, deployment_id from {{ loaded_rows('deployment_alerts') }} as alerts
) as named
where capsule_id is not null
