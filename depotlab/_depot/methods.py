"""The methods of the API that we call: their paths on the wire, and which of them may be obeyed twice.

A method is idempotent if obeying it again changes nothing and gives the same kind of answer. Deleting is not: the
second answer would be "not found", and hide that the first one worked.
"""

from __future__ import annotations

from depotlab._depot.connect import Method
from depotlab._proto import depot_build_pb2 as build
from depotlab._proto import depot_cli_pb2 as cli
from depotlab._proto import depot_clibeta_pb2 as beta
from depotlab._proto import depot_core_pb2 as core

_BUILDS = "/depot.cli.v1.BuildService/"
_CORE_BUILDS = "/depot.core.v1.BuildService/"
_ORGANIZATIONS = "/depot.core.v1.OrganizationService/"
_PROJECTS = "/depot.core.v1.ProjectService/"
_USAGE = "/depot.core.v1.UsageService/"
_STEPS = "/depot.build.v1.BuildService/"
_REGISTRY = "/depot.build.v1.RegistryService/"
_LOGIN = "/depot.cli.v1beta1.LoginService/"

LIST_PROJECTS = Method(_PROJECTS + "ListProjects", core.ListProjectsResponse, idempotent=True)
GET_PROJECT = Method(_PROJECTS + "GetProject", core.GetProjectResponse, idempotent=True)
CREATE_PROJECT = Method(_PROJECTS + "CreateProject", core.CreateProjectResponse)
UPDATE_PROJECT = Method(_PROJECTS + "UpdateProject", core.UpdateProjectResponse, idempotent=True)
DELETE_PROJECT = Method(_PROJECTS + "DeleteProject", core.DeleteProjectResponse)
RESET_PROJECT = Method(_PROJECTS + "ResetProject", core.ResetProjectResponse)
LIST_TRUST_POLICIES = Method(
    _PROJECTS + "ListTrustPolicies", core.ListTrustPoliciesResponse, idempotent=True
)
ADD_TRUST_POLICY = Method(_PROJECTS + "AddTrustPolicy", core.AddTrustPolicyResponse)
REMOVE_TRUST_POLICY = Method(_PROJECTS + "RemoveTrustPolicy", core.RemoveTrustPolicyResponse)
LIST_TOKENS = Method(_PROJECTS + "ListTokens", core.ListTokensResponse, idempotent=True)
CREATE_TOKEN = Method(_PROJECTS + "CreateToken", core.CreateTokenResponse)
UPDATE_TOKEN = Method(_PROJECTS + "UpdateToken", core.UpdateTokenResponse, idempotent=True)
DELETE_TOKEN = Method(_PROJECTS + "DeleteToken", core.DeleteTokenResponse)

LIST_BUILDS = Method(_CORE_BUILDS + "ListBuilds", core.ListBuildsResponse, idempotent=True)
GET_BUILD = Method(_CORE_BUILDS + "GetBuild", core.GetBuildResponse, idempotent=True)
SHARE_BUILD = Method(_CORE_BUILDS + "ShareBuild", core.ShareBuildResponse, idempotent=True)
STOP_SHARING_BUILD = Method(
    _CORE_BUILDS + "StopSharingBuild", core.StopSharingBuildResponse, idempotent=True
)

LIST_ORGANIZATIONS = Method(
    _ORGANIZATIONS + "ListOrganizations", core.ListOrganizationsResponse, idempotent=True
)

LIST_PROJECT_USAGE = Method(
    _USAGE + "ListProjectUsage", core.ListProjectUsageResponse, idempotent=True
)
GET_PROJECT_USAGE = Method(
    _USAGE + "GetProjectUsage", core.GetProjectUsageResponse, idempotent=True
)
GET_USAGE = Method(_USAGE + "GetUsage", core.GetUsageResponse, idempotent=True)

GET_BUILD_STEPS = Method(_STEPS + "GetBuildSteps", build.GetBuildStepsResponse, idempotent=True)
GET_BUILD_STEP_LOGS = Method(
    _STEPS + "GetBuildStepLogs", build.GetBuildStepLogsResponse, idempotent=True
)
LIST_IMAGES = Method(_REGISTRY + "ListImages", build.ListImagesResponse, idempotent=True)
DELETE_IMAGE = Method(_REGISTRY + "DeleteImage", build.DeleteImageResponse)
GET_PULL_INFO = Method(_BUILDS + "GetPullInfo", cli.GetPullInfoResponse, idempotent=True)
GET_PULL_TOKEN = Method(_BUILDS + "GetPullToken", cli.GetPullTokenResponse, idempotent=True)

START_LOGIN = Method(_LOGIN + "StartLogin", beta.StartLoginResponse)
FINISH_LOGIN = Method(_LOGIN + "FinishLogin", beta.FinishLoginResponse)

# The life of a build. The server takes a second FinishBuild with the same result as the first one.
CREATE_BUILD = Method(_BUILDS + "CreateBuild", cli.CreateBuildResponse)
CONTINUE_BUILD = Method(_BUILDS + "GetBuild", cli.GetBuildResponse, idempotent=True)
FINISH_BUILD = Method(_BUILDS + "FinishBuild", cli.FinishBuildResponse, idempotent=True)
GET_CONNECTION = Method(
    _BUILDS + "GetBuildKitConnection", cli.GetBuildKitConnectionResponse, idempotent=True
)
REPORT_HEALTH = Method(
    _BUILDS + "ReportBuildHealth", cli.ReportBuildHealthResponse, idempotent=True
)
REPORT_STATUS_STREAM = Method(_BUILDS + "ReportStatusStream", cli.ReportStatusStreamResponse)
