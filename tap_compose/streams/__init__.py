"""The streams: one class per report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_compose.streams import account, audit, billing, coverage, deployments, platform, recipes

if TYPE_CHECKING:
    from tap_compose.streams.singer import SingerStream

STREAMS: tuple[type[SingerStream], ...] = (
    account.Accounts,
    account.AccountUsers,
    account.User,
    account.Teams,
    audit.AuditEvents,
    billing.Billables,
    platform.Clusters,
    platform.Databases,
    platform.DatabaseVersions,
    platform.Datacenters,
    deployments.Deployments,
    deployments.DeploymentDetails,
    deployments.DeploymentAddons,
    deployments.DeploymentAlerts,
    deployments.DeploymentHealth,
    deployments.DeploymentBackups,
    deployments.DeploymentLogfiles,
    deployments.DeploymentPortals,
    deployments.DeploymentPortalUsers,
    recipes.DeploymentRecipes,
    deployments.DeploymentRoles,
    deployments.DeploymentScalings,
    deployments.DeploymentTeamRoles,
    deployments.DeploymentVersions,
    deployments.DeploymentWhitelist,
    coverage.Coverage,
)
"""Every stream of the tap, in the order of docs/streams.md; a run takes them by name, but coverage
last."""
