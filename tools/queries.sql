-- The example of each stream in docs/streams.md; tests/pages/test_recipes.py runs all of them.

-- accounts
SELECT a.name, count(d.id) AS deployments
FROM compose.accounts AS a
LEFT JOIN compose.deployment_details AS d ON d.account_id = a.id
GROUP BY a.id, a.name
ORDER BY a.name

-- account_users
SELECT u.id, u.name, max(e.created_at) AS last_seen
FROM compose.account_users AS u
LEFT JOIN compose.audit_events AS e ON e.user_id = u.id
GROUP BY u.id, u.name
ORDER BY last_seen NULLS FIRST, u.id

-- user
SELECT me.name, count(e.id) AS events
FROM compose."user" AS me
LEFT JOIN compose.audit_events AS e ON e.user_id = me.id
GROUP BY me.id, me.name

-- teams
SELECT name, users
FROM compose.teams
ORDER BY name

-- audit_events
SELECT event, count(*) AS events, max(created_at) AS latest
FROM compose.audit_events
GROUP BY event
ORDER BY events DESC, event

-- billables
SELECT coalesce(d.name, b.identifier) AS resource, b.sku, b.units, b.amount
FROM compose.billables AS b
LEFT JOIN compose.deployments AS d ON d.id = b.identifier
WHERE b.end_at > CURRENT_TIMESTAMP AT TIME ZONE 'UTC'
ORDER BY b.amount DESC, b.id

-- clusters
SELECT c.name, c.provider, c.region, count(d.id) AS deployments
FROM compose.clusters AS c
LEFT JOIN compose.deployment_details AS d ON d.cluster_id = c.id
GROUP BY c.id, c.name, c.provider, c.region
ORDER BY c.name

-- databases
SELECT db.display_name, db.status, count(d.id) AS deployments
FROM compose.databases AS db
LEFT JOIN compose.deployments AS d ON d.type = db.type
GROUP BY db.type, db.display_name, db.status
ORDER BY db.type

-- database_versions
SELECT d.name, d.type, d.version, v.status
FROM compose.deployment_details AS d
JOIN compose.database_versions AS v ON v.application = d.type AND v.version = d.version
WHERE v.status <> 'stable'
ORDER BY d.name

-- datacenters
SELECT provider, count(*) AS datacenters
FROM compose.datacenters
GROUP BY provider
ORDER BY provider

-- deployments
SELECT type, count(*) AS deployments, min(created_at) AS oldest
FROM compose.deployments
GROUP BY type
ORDER BY type

-- deployment_details
SELECT type, version, count(*) AS deployments
FROM compose.deployment_details
GROUP BY type, version
ORDER BY type, version

-- deployment_addons
SELECT a.name AS addon, d.name AS deployment
FROM compose.deployment_addons AS a
JOIN compose.deployments AS d ON d.id = a.deployment_id
WHERE a.is_active
ORDER BY addon, deployment

-- deployment_alerts
SELECT d.name, a.status, a.message
FROM compose.deployment_alerts AS a
JOIN compose.deployments AS d ON d.id = a.deployment_id
ORDER BY d.name, a.id

-- deployment_health
SELECT d.name, h.summary, h.alert_count
FROM compose.deployments AS d
LEFT JOIN compose.deployment_health AS h ON h.deployment_id = d.id
WHERE h.summary IS DISTINCT FROM 'healthy'
ORDER BY d.name

-- deployment_backups
SELECT d.name, max(b.created_at) AS newest_backup, count(b.id) AS backups
FROM compose.deployments AS d
LEFT JOIN compose.deployment_backups AS b ON b.deployment_id = d.id AND b.status = 'complete'
GROUP BY d.id, d.name
ORDER BY newest_backup NULLS FIRST, d.name

-- deployment_logfiles
SELECT d.name, count(*) AS files, sum(l.file_size) / 1000000 AS megabytes
FROM compose.deployment_logfiles AS l
JOIN compose.deployments AS d ON d.id = l.deployment_id
GROUP BY d.id, d.name
ORDER BY d.name

-- deployment_portals
SELECT d.name, p.type, p.hostname
FROM compose.deployment_portals AS p
JOIN compose.deployments AS d ON d.id = p.deployment_id
WHERE p.ssl_enabled IS NOT TRUE
ORDER BY d.name, p.id

-- deployment_portal_users
SELECT type, count(*) AS users, count(DISTINCT deployment_id) AS deployments
FROM compose.deployment_portal_users
GROUP BY type
ORDER BY type

-- deployment_recipes
SELECT d.name AS deployment, r.name, r.status, r.status_detail
FROM compose.deployment_recipes AS r
JOIN compose.deployments AS d ON d.id = r.deployment_id
WHERE r.status <> 'complete'
ORDER BY r.created_at, r.id

-- deployment_roles
SELECT name AS role, count(*) AS deployments
FROM compose.deployment_roles
GROUP BY name
ORDER BY name

-- deployment_scalings
SELECT d.name, s.used_units, s.allocated_units, s.unit_size_in_mb
FROM compose.deployment_scalings AS s
JOIN compose.deployments AS d ON d.id = s.deployment_id
ORDER BY 1.0 * s.used_units / s.allocated_units DESC, d.name

-- deployment_team_roles
SELECT d.name AS deployment, r.name AS role, r.teams
FROM compose.deployment_team_roles AS r
JOIN compose.deployments AS d ON d.id = r.deployment_id
ORDER BY deployment, role

-- deployment_versions
SELECT d.name, v.from_version, v.to_version, v.method
FROM compose.deployment_versions AS v
JOIN compose.deployments AS d ON d.id = v.deployment_id
ORDER BY d.name, v.to_version, v.method

-- deployment_whitelist
SELECT d.name, w.ip, w.description
FROM compose.deployment_whitelist AS w
JOIN compose.deployments AS d ON d.id = w.deployment_id
WHERE w.ip LIKE '%/0'
ORDER BY d.name, w.ip

-- coverage
SELECT c.stream, d.name AS deployment, c.outcome, c.reason
FROM compose.coverage AS c
LEFT JOIN compose.deployments AS d ON d.id = c.deployment_id
WHERE c.outcome <> 'read'
ORDER BY c.stream, d.name
