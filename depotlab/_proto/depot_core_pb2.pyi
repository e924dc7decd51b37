from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hardware(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HARDWARE_UNSPECIFIED: _ClassVar[Hardware]
    HARDWARE_16X32: _ClassVar[Hardware]
    HARDWARE_4X4: _ClassVar[Hardware]
    HARDWARE_8X8: _ClassVar[Hardware]
    HARDWARE_8X16: _ClassVar[Hardware]
    HARDWARE_32X64: _ClassVar[Hardware]
    HARDWARE_64X128: _ClassVar[Hardware]
    HARDWARE_96X192: _ClassVar[Hardware]
    HARDWARE_192X384: _ClassVar[Hardware]
HARDWARE_UNSPECIFIED: Hardware
HARDWARE_16X32: Hardware
HARDWARE_4X4: Hardware
HARDWARE_8X8: Hardware
HARDWARE_8X16: Hardware
HARDWARE_32X64: Hardware
HARDWARE_64X128: Hardware
HARDWARE_96X192: Hardware
HARDWARE_192X384: Hardware

class CachePolicy(_message.Message):
    __slots__ = ("keep_bytes", "keep_days", "keep_gb")
    KEEP_BYTES_FIELD_NUMBER: _ClassVar[int]
    KEEP_DAYS_FIELD_NUMBER: _ClassVar[int]
    KEEP_GB_FIELD_NUMBER: _ClassVar[int]
    keep_bytes: int
    keep_days: int
    keep_gb: int
    def __init__(self, keep_bytes: _Optional[int] = ..., keep_days: _Optional[int] = ..., keep_gb: _Optional[int] = ...) -> None: ...

class Project(_message.Message):
    __slots__ = ("project_id", "organization_id", "name", "region_id", "created_at", "cache_policy", "hardware")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REGION_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    CACHE_POLICY_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    organization_id: str
    name: str
    region_id: str
    created_at: _timestamp_pb2.Timestamp
    cache_policy: CachePolicy
    hardware: Hardware
    def __init__(self, project_id: _Optional[str] = ..., organization_id: _Optional[str] = ..., name: _Optional[str] = ..., region_id: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cache_policy: _Optional[_Union[CachePolicy, _Mapping]] = ..., hardware: _Optional[_Union[Hardware, str]] = ...) -> None: ...

class ListProjectsRequest(_message.Message):
    __slots__ = ("region_id", "page_size", "page_token")
    REGION_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    region_id: str
    page_size: int
    page_token: str
    def __init__(self, region_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProjectsResponse(_message.Message):
    __slots__ = ("projects", "next_page_token")
    PROJECTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    projects: _containers.RepeatedCompositeFieldContainer[Project]
    next_page_token: str
    def __init__(self, projects: _Optional[_Iterable[_Union[Project, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetProjectRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class GetProjectResponse(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: Project
    def __init__(self, project: _Optional[_Union[Project, _Mapping]] = ...) -> None: ...

class CreateProjectRequest(_message.Message):
    __slots__ = ("name", "organization_id", "region_id", "cache_policy", "hardware")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ORGANIZATION_ID_FIELD_NUMBER: _ClassVar[int]
    REGION_ID_FIELD_NUMBER: _ClassVar[int]
    CACHE_POLICY_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    name: str
    organization_id: str
    region_id: str
    cache_policy: CachePolicy
    hardware: Hardware
    def __init__(self, name: _Optional[str] = ..., organization_id: _Optional[str] = ..., region_id: _Optional[str] = ..., cache_policy: _Optional[_Union[CachePolicy, _Mapping]] = ..., hardware: _Optional[_Union[Hardware, str]] = ...) -> None: ...

class CreateProjectResponse(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: Project
    def __init__(self, project: _Optional[_Union[Project, _Mapping]] = ...) -> None: ...

class UpdateProjectRequest(_message.Message):
    __slots__ = ("project_id", "name", "region_id", "cache_policy", "hardware")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REGION_ID_FIELD_NUMBER: _ClassVar[int]
    CACHE_POLICY_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    name: str
    region_id: str
    cache_policy: CachePolicy
    hardware: Hardware
    def __init__(self, project_id: _Optional[str] = ..., name: _Optional[str] = ..., region_id: _Optional[str] = ..., cache_policy: _Optional[_Union[CachePolicy, _Mapping]] = ..., hardware: _Optional[_Union[Hardware, str]] = ...) -> None: ...

class UpdateProjectResponse(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: Project
    def __init__(self, project: _Optional[_Union[Project, _Mapping]] = ...) -> None: ...

class DeleteProjectRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class DeleteProjectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ResetProjectRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class ResetProjectResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TrustPolicy(_message.Message):
    __slots__ = ("trust_policy_id", "buildkite", "circleci", "github")
    class Buildkite(_message.Message):
        __slots__ = ("organization_slug", "pipeline_slug")
        ORGANIZATION_SLUG_FIELD_NUMBER: _ClassVar[int]
        PIPELINE_SLUG_FIELD_NUMBER: _ClassVar[int]
        organization_slug: str
        pipeline_slug: str
        def __init__(self, organization_slug: _Optional[str] = ..., pipeline_slug: _Optional[str] = ...) -> None: ...
    class CircleCI(_message.Message):
        __slots__ = ("organization_uuid", "project_uuid")
        ORGANIZATION_UUID_FIELD_NUMBER: _ClassVar[int]
        PROJECT_UUID_FIELD_NUMBER: _ClassVar[int]
        organization_uuid: str
        project_uuid: str
        def __init__(self, organization_uuid: _Optional[str] = ..., project_uuid: _Optional[str] = ...) -> None: ...
    class GitHub(_message.Message):
        __slots__ = ("repository_owner", "repository")
        REPOSITORY_OWNER_FIELD_NUMBER: _ClassVar[int]
        REPOSITORY_FIELD_NUMBER: _ClassVar[int]
        repository_owner: str
        repository: str
        def __init__(self, repository_owner: _Optional[str] = ..., repository: _Optional[str] = ...) -> None: ...
    TRUST_POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    BUILDKITE_FIELD_NUMBER: _ClassVar[int]
    CIRCLECI_FIELD_NUMBER: _ClassVar[int]
    GITHUB_FIELD_NUMBER: _ClassVar[int]
    trust_policy_id: str
    buildkite: TrustPolicy.Buildkite
    circleci: TrustPolicy.CircleCI
    github: TrustPolicy.GitHub
    def __init__(self, trust_policy_id: _Optional[str] = ..., buildkite: _Optional[_Union[TrustPolicy.Buildkite, _Mapping]] = ..., circleci: _Optional[_Union[TrustPolicy.CircleCI, _Mapping]] = ..., github: _Optional[_Union[TrustPolicy.GitHub, _Mapping]] = ...) -> None: ...

class ListTrustPoliciesRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class ListTrustPoliciesResponse(_message.Message):
    __slots__ = ("trust_policies",)
    TRUST_POLICIES_FIELD_NUMBER: _ClassVar[int]
    trust_policies: _containers.RepeatedCompositeFieldContainer[TrustPolicy]
    def __init__(self, trust_policies: _Optional[_Iterable[_Union[TrustPolicy, _Mapping]]] = ...) -> None: ...

class AddTrustPolicyRequest(_message.Message):
    __slots__ = ("project_id", "buildkite", "circleci", "github")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    BUILDKITE_FIELD_NUMBER: _ClassVar[int]
    CIRCLECI_FIELD_NUMBER: _ClassVar[int]
    GITHUB_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    buildkite: TrustPolicy.Buildkite
    circleci: TrustPolicy.CircleCI
    github: TrustPolicy.GitHub
    def __init__(self, project_id: _Optional[str] = ..., buildkite: _Optional[_Union[TrustPolicy.Buildkite, _Mapping]] = ..., circleci: _Optional[_Union[TrustPolicy.CircleCI, _Mapping]] = ..., github: _Optional[_Union[TrustPolicy.GitHub, _Mapping]] = ...) -> None: ...

class AddTrustPolicyResponse(_message.Message):
    __slots__ = ("trust_policy",)
    TRUST_POLICY_FIELD_NUMBER: _ClassVar[int]
    trust_policy: TrustPolicy
    def __init__(self, trust_policy: _Optional[_Union[TrustPolicy, _Mapping]] = ...) -> None: ...

class RemoveTrustPolicyRequest(_message.Message):
    __slots__ = ("project_id", "trust_policy_id")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    TRUST_POLICY_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    trust_policy_id: str
    def __init__(self, project_id: _Optional[str] = ..., trust_policy_id: _Optional[str] = ...) -> None: ...

class RemoveTrustPolicyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTokensRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class ListTokensResponse(_message.Message):
    __slots__ = ("tokens",)
    class Token(_message.Message):
        __slots__ = ("token_id", "description")
        TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
        DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
        token_id: str
        description: str
        def __init__(self, token_id: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[ListTokensResponse.Token]
    def __init__(self, tokens: _Optional[_Iterable[_Union[ListTokensResponse.Token, _Mapping]]] = ...) -> None: ...

class CreateTokenRequest(_message.Message):
    __slots__ = ("project_id", "description")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    description: str
    def __init__(self, project_id: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class CreateTokenResponse(_message.Message):
    __slots__ = ("token_id", "secret")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    secret: str
    def __init__(self, token_id: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class UpdateTokenRequest(_message.Message):
    __slots__ = ("token_id", "description")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    description: str
    def __init__(self, token_id: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class UpdateTokenResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DeleteTokenRequest(_message.Message):
    __slots__ = ("token_id",)
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    def __init__(self, token_id: _Optional[str] = ...) -> None: ...

class DeleteTokenResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Build(_message.Message):
    __slots__ = ("build_id", "status", "created_at", "started_at", "finished_at", "build_duration_seconds", "saved_duration_seconds", "cached_steps", "total_steps")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[Build.Status]
        STATUS_RUNNING: _ClassVar[Build.Status]
        STATUS_FAILED: _ClassVar[Build.Status]
        STATUS_SUCCESS: _ClassVar[Build.Status]
        STATUS_ERROR: _ClassVar[Build.Status]
        STATUS_CANCELED: _ClassVar[Build.Status]
    STATUS_UNSPECIFIED: Build.Status
    STATUS_RUNNING: Build.Status
    STATUS_FAILED: Build.Status
    STATUS_SUCCESS: Build.Status
    STATUS_ERROR: Build.Status
    STATUS_CANCELED: Build.Status
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    BUILD_DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    SAVED_DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CACHED_STEPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    status: Build.Status
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    build_duration_seconds: int
    saved_duration_seconds: int
    cached_steps: int
    total_steps: int
    def __init__(self, build_id: _Optional[str] = ..., status: _Optional[_Union[Build.Status, str]] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., build_duration_seconds: _Optional[int] = ..., saved_duration_seconds: _Optional[int] = ..., cached_steps: _Optional[int] = ..., total_steps: _Optional[int] = ...) -> None: ...

class ShareBuildRequest(_message.Message):
    __slots__ = ("build_id",)
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    def __init__(self, build_id: _Optional[str] = ...) -> None: ...

class ShareBuildResponse(_message.Message):
    __slots__ = ("share_url",)
    SHARE_URL_FIELD_NUMBER: _ClassVar[int]
    share_url: str
    def __init__(self, share_url: _Optional[str] = ...) -> None: ...

class StopSharingBuildRequest(_message.Message):
    __slots__ = ("build_id",)
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    def __init__(self, build_id: _Optional[str] = ...) -> None: ...

class StopSharingBuildResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListBuildsRequest(_message.Message):
    __slots__ = ("project_id", "page_size", "page_token")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    page_size: int
    page_token: str
    def __init__(self, project_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBuildsResponse(_message.Message):
    __slots__ = ("builds", "next_page_token")
    BUILDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    builds: _containers.RepeatedCompositeFieldContainer[Build]
    next_page_token: str
    def __init__(self, builds: _Optional[_Iterable[_Union[Build, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetBuildRequest(_message.Message):
    __slots__ = ("build_id",)
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    def __init__(self, build_id: _Optional[str] = ...) -> None: ...

class GetBuildResponse(_message.Message):
    __slots__ = ("build",)
    BUILD_FIELD_NUMBER: _ClassVar[int]
    build: Build
    def __init__(self, build: _Optional[_Union[Build, _Mapping]] = ...) -> None: ...

class Organization(_message.Message):
    __slots__ = ("org_id", "name", "created_at")
    ORG_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    org_id: str
    name: str
    created_at: _timestamp_pb2.Timestamp
    def __init__(self, org_id: _Optional[str] = ..., name: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListOrganizationsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListOrganizationsResponse(_message.Message):
    __slots__ = ("organizations",)
    ORGANIZATIONS_FIELD_NUMBER: _ClassVar[int]
    organizations: _containers.RepeatedCompositeFieldContainer[Organization]
    def __init__(self, organizations: _Optional[_Iterable[_Union[Organization, _Mapping]]] = ...) -> None: ...

class ProjectUsage(_message.Message):
    __slots__ = ("project_id", "build_count", "build_duration_seconds", "layer_cache_size_gb")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_COUNT_FIELD_NUMBER: _ClassVar[int]
    BUILD_DURATION_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LAYER_CACHE_SIZE_GB_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    build_count: int
    build_duration_seconds: int
    layer_cache_size_gb: int
    def __init__(self, project_id: _Optional[str] = ..., build_count: _Optional[int] = ..., build_duration_seconds: _Optional[int] = ..., layer_cache_size_gb: _Optional[int] = ...) -> None: ...

class ListProjectUsageRequest(_message.Message):
    __slots__ = ("start_at", "end_at", "page_size", "page_token")
    START_AT_FIELD_NUMBER: _ClassVar[int]
    END_AT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    start_at: _timestamp_pb2.Timestamp
    end_at: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    def __init__(self, start_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListProjectUsageResponse(_message.Message):
    __slots__ = ("usage", "next_page_token")
    USAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    usage: _containers.RepeatedCompositeFieldContainer[ProjectUsage]
    next_page_token: str
    def __init__(self, usage: _Optional[_Iterable[_Union[ProjectUsage, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetProjectUsageRequest(_message.Message):
    __slots__ = ("project_id", "start_at", "end_at")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    START_AT_FIELD_NUMBER: _ClassVar[int]
    END_AT_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    start_at: _timestamp_pb2.Timestamp
    end_at: _timestamp_pb2.Timestamp
    def __init__(self, project_id: _Optional[str] = ..., start_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetProjectUsageResponse(_message.Message):
    __slots__ = ("usage",)
    USAGE_FIELD_NUMBER: _ClassVar[int]
    usage: ProjectUsage
    def __init__(self, usage: _Optional[_Union[ProjectUsage, _Mapping]] = ...) -> None: ...

class ContainerBuildUsage(_message.Message):
    __slots__ = ("project_name", "build_count", "minutes_saved", "minutes_billed")
    PROJECT_NAME_FIELD_NUMBER: _ClassVar[int]
    BUILD_COUNT_FIELD_NUMBER: _ClassVar[int]
    MINUTES_SAVED_FIELD_NUMBER: _ClassVar[int]
    MINUTES_BILLED_FIELD_NUMBER: _ClassVar[int]
    project_name: str
    build_count: int
    minutes_saved: float
    minutes_billed: float
    def __init__(self, project_name: _Optional[str] = ..., build_count: _Optional[int] = ..., minutes_saved: _Optional[float] = ..., minutes_billed: _Optional[float] = ...) -> None: ...

class GithubActionsJobsUsage(_message.Message):
    __slots__ = ("repo", "total", "jobs")
    class Total(_message.Message):
        __slots__ = ("job_count", "minutes_elapsed", "minutes_billed")
        JOB_COUNT_FIELD_NUMBER: _ClassVar[int]
        MINUTES_ELAPSED_FIELD_NUMBER: _ClassVar[int]
        MINUTES_BILLED_FIELD_NUMBER: _ClassVar[int]
        job_count: int
        minutes_elapsed: float
        minutes_billed: float
        def __init__(self, job_count: _Optional[int] = ..., minutes_elapsed: _Optional[float] = ..., minutes_billed: _Optional[float] = ...) -> None: ...
    class Job(_message.Message):
        __slots__ = ("workflow", "runner", "job_count", "minutes_elapsed", "minutes_billed")
        WORKFLOW_FIELD_NUMBER: _ClassVar[int]
        RUNNER_FIELD_NUMBER: _ClassVar[int]
        JOB_COUNT_FIELD_NUMBER: _ClassVar[int]
        MINUTES_ELAPSED_FIELD_NUMBER: _ClassVar[int]
        MINUTES_BILLED_FIELD_NUMBER: _ClassVar[int]
        workflow: str
        runner: str
        job_count: int
        minutes_elapsed: float
        minutes_billed: float
        def __init__(self, workflow: _Optional[str] = ..., runner: _Optional[str] = ..., job_count: _Optional[int] = ..., minutes_elapsed: _Optional[float] = ..., minutes_billed: _Optional[float] = ...) -> None: ...
    REPO_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    repo: str
    total: GithubActionsJobsUsage.Total
    jobs: _containers.RepeatedCompositeFieldContainer[GithubActionsJobsUsage.Job]
    def __init__(self, repo: _Optional[str] = ..., total: _Optional[_Union[GithubActionsJobsUsage.Total, _Mapping]] = ..., jobs: _Optional[_Iterable[_Union[GithubActionsJobsUsage.Job, _Mapping]]] = ...) -> None: ...

class StorageUsage(_message.Message):
    __slots__ = ("storage_type", "total_gb")
    STORAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_GB_FIELD_NUMBER: _ClassVar[int]
    storage_type: str
    total_gb: float
    def __init__(self, storage_type: _Optional[str] = ..., total_gb: _Optional[float] = ...) -> None: ...

class AgentSandboxUsage(_message.Message):
    __slots__ = ("agent_type", "sandboxes_count", "minutes_elapsed", "minutes_billed")
    AGENT_TYPE_FIELD_NUMBER: _ClassVar[int]
    SANDBOXES_COUNT_FIELD_NUMBER: _ClassVar[int]
    MINUTES_ELAPSED_FIELD_NUMBER: _ClassVar[int]
    MINUTES_BILLED_FIELD_NUMBER: _ClassVar[int]
    agent_type: str
    sandboxes_count: int
    minutes_elapsed: float
    minutes_billed: float
    def __init__(self, agent_type: _Optional[str] = ..., sandboxes_count: _Optional[int] = ..., minutes_elapsed: _Optional[float] = ..., minutes_billed: _Optional[float] = ...) -> None: ...

class GetUsageRequest(_message.Message):
    __slots__ = ("start_at", "end_at")
    START_AT_FIELD_NUMBER: _ClassVar[int]
    END_AT_FIELD_NUMBER: _ClassVar[int]
    start_at: _timestamp_pb2.Timestamp
    end_at: _timestamp_pb2.Timestamp
    def __init__(self, start_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class GetUsageResponse(_message.Message):
    __slots__ = ("period_start", "period_end", "container_build", "github_actions_jobs", "storage", "agent_sandbox")
    PERIOD_START_FIELD_NUMBER: _ClassVar[int]
    PERIOD_END_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_BUILD_FIELD_NUMBER: _ClassVar[int]
    GITHUB_ACTIONS_JOBS_FIELD_NUMBER: _ClassVar[int]
    STORAGE_FIELD_NUMBER: _ClassVar[int]
    AGENT_SANDBOX_FIELD_NUMBER: _ClassVar[int]
    period_start: _timestamp_pb2.Timestamp
    period_end: _timestamp_pb2.Timestamp
    container_build: _containers.RepeatedCompositeFieldContainer[ContainerBuildUsage]
    github_actions_jobs: _containers.RepeatedCompositeFieldContainer[GithubActionsJobsUsage]
    storage: _containers.RepeatedCompositeFieldContainer[StorageUsage]
    agent_sandbox: _containers.RepeatedCompositeFieldContainer[AgentSandboxUsage]
    def __init__(self, period_start: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., period_end: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., container_build: _Optional[_Iterable[_Union[ContainerBuildUsage, _Mapping]]] = ..., github_actions_jobs: _Optional[_Iterable[_Union[GithubActionsJobsUsage, _Mapping]]] = ..., storage: _Optional[_Iterable[_Union[StorageUsage, _Mapping]]] = ..., agent_sandbox: _Optional[_Iterable[_Union[AgentSandboxUsage, _Mapping]]] = ...) -> None: ...
