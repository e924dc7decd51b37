from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BuildState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BUILD_STATE_UNSPECIFIED: _ClassVar[BuildState]
    BUILD_STATE_QUEUED: _ClassVar[BuildState]
    BUILD_STATE_RUNNING: _ClassVar[BuildState]
    BUILD_STATE_SUCCEEDED: _ClassVar[BuildState]
    BUILD_STATE_FAILED: _ClassVar[BuildState]
    BUILD_STATE_CANCELED: _ClassVar[BuildState]
BUILD_STATE_UNSPECIFIED: BuildState
BUILD_STATE_QUEUED: BuildState
BUILD_STATE_RUNNING: BuildState
BUILD_STATE_SUCCEEDED: BuildState
BUILD_STATE_FAILED: BuildState
BUILD_STATE_CANCELED: BuildState

class GitContext(_message.Message):
    __slots__ = ("host", "owner", "repository", "ref", "subdir", "pull_request", "is_public")
    HOST_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    REPOSITORY_FIELD_NUMBER: _ClassVar[int]
    REF_FIELD_NUMBER: _ClassVar[int]
    SUBDIR_FIELD_NUMBER: _ClassVar[int]
    PULL_REQUEST_FIELD_NUMBER: _ClassVar[int]
    IS_PUBLIC_FIELD_NUMBER: _ClassVar[int]
    host: str
    owner: str
    repository: str
    ref: str
    subdir: str
    pull_request: int
    is_public: bool
    def __init__(self, host: _Optional[str] = ..., owner: _Optional[str] = ..., repository: _Optional[str] = ..., ref: _Optional[str] = ..., subdir: _Optional[str] = ..., pull_request: _Optional[int] = ..., is_public: bool = ...) -> None: ...

class BuildError(_message.Message):
    __slots__ = ("category", "message", "raw")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    category: str
    message: str
    raw: str
    def __init__(self, category: _Optional[str] = ..., message: _Optional[str] = ..., raw: _Optional[str] = ...) -> None: ...

class Build(_message.Message):
    __slots__ = ("build_id", "project", "workspace", "deployment", "state", "image", "digest", "depot_project_id", "depot_build_id", "created_at", "started_at", "finished_at", "attempts", "stages_s", "error", "cached_steps", "total_steps", "n_log_lines", "build_context_path", "git", "platform", "stage")
    class StagesSEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    DEPOT_PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    DEPOT_BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    STAGES_S_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CACHED_STEPS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    N_LOG_LINES_FIELD_NUMBER: _ClassVar[int]
    BUILD_CONTEXT_PATH_FIELD_NUMBER: _ClassVar[int]
    GIT_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    project: str
    workspace: str
    deployment: str
    state: BuildState
    image: str
    digest: str
    depot_project_id: str
    depot_build_id: str
    created_at: _timestamp_pb2.Timestamp
    started_at: _timestamp_pb2.Timestamp
    finished_at: _timestamp_pb2.Timestamp
    attempts: int
    stages_s: _containers.ScalarMap[str, float]
    error: BuildError
    cached_steps: int
    total_steps: int
    n_log_lines: int
    build_context_path: str
    git: GitContext
    platform: str
    stage: str
    def __init__(self, build_id: _Optional[str] = ..., project: _Optional[str] = ..., workspace: _Optional[str] = ..., deployment: _Optional[str] = ..., state: _Optional[_Union[BuildState, str]] = ..., image: _Optional[str] = ..., digest: _Optional[str] = ..., depot_project_id: _Optional[str] = ..., depot_build_id: _Optional[str] = ..., created_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., finished_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., attempts: _Optional[int] = ..., stages_s: _Optional[_Mapping[str, float]] = ..., error: _Optional[_Union[BuildError, _Mapping]] = ..., cached_steps: _Optional[int] = ..., total_steps: _Optional[int] = ..., n_log_lines: _Optional[int] = ..., build_context_path: _Optional[str] = ..., git: _Optional[_Union[GitContext, _Mapping]] = ..., platform: _Optional[str] = ..., stage: _Optional[str] = ...) -> None: ...

class GenerateUploadURLRequest(_message.Message):
    __slots__ = ("project",)
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    project: str
    def __init__(self, project: _Optional[str] = ...) -> None: ...

class GenerateUploadURLResponse(_message.Message):
    __slots__ = ("upload_url", "build_context_path", "expires_in_s", "max_bytes", "headers")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    UPLOAD_URL_FIELD_NUMBER: _ClassVar[int]
    BUILD_CONTEXT_PATH_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_IN_S_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    upload_url: str
    build_context_path: str
    expires_in_s: int
    max_bytes: int
    headers: _containers.ScalarMap[str, str]
    def __init__(self, upload_url: _Optional[str] = ..., build_context_path: _Optional[str] = ..., expires_in_s: _Optional[int] = ..., max_bytes: _Optional[int] = ..., headers: _Optional[_Mapping[str, str]] = ...) -> None: ...

class CreateBuildRequest(_message.Message):
    __slots__ = ("build_context_path", "dockerfile_path", "project", "deployment", "workspace", "git", "target", "platform", "args", "labels", "env", "git_token", "idempotency_key")
    class ArgsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    BUILD_CONTEXT_PATH_FIELD_NUMBER: _ClassVar[int]
    DOCKERFILE_PATH_FIELD_NUMBER: _ClassVar[int]
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    DEPLOYMENT_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    GIT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    GIT_TOKEN_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    build_context_path: str
    dockerfile_path: str
    project: str
    deployment: str
    workspace: str
    git: GitContext
    target: str
    platform: str
    args: _containers.ScalarMap[str, str]
    labels: _containers.ScalarMap[str, str]
    env: _containers.ScalarMap[str, str]
    git_token: str
    idempotency_key: str
    def __init__(self, build_context_path: _Optional[str] = ..., dockerfile_path: _Optional[str] = ..., project: _Optional[str] = ..., deployment: _Optional[str] = ..., workspace: _Optional[str] = ..., git: _Optional[_Union[GitContext, _Mapping]] = ..., target: _Optional[str] = ..., platform: _Optional[str] = ..., args: _Optional[_Mapping[str, str]] = ..., labels: _Optional[_Mapping[str, str]] = ..., env: _Optional[_Mapping[str, str]] = ..., git_token: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class CreateBuildResponse(_message.Message):
    __slots__ = ("image_name", "build_id", "depot_project_id", "build")
    IMAGE_NAME_FIELD_NUMBER: _ClassVar[int]
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    DEPOT_PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_FIELD_NUMBER: _ClassVar[int]
    image_name: str
    build_id: str
    depot_project_id: str
    build: Build
    def __init__(self, image_name: _Optional[str] = ..., build_id: _Optional[str] = ..., depot_project_id: _Optional[str] = ..., build: _Optional[_Union[Build, _Mapping]] = ...) -> None: ...

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

class ListBuildsRequest(_message.Message):
    __slots__ = ("project", "state", "page_size", "page_token")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project: str
    state: BuildState
    page_size: int
    page_token: str
    def __init__(self, project: _Optional[str] = ..., state: _Optional[_Union[BuildState, str]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListBuildsResponse(_message.Message):
    __slots__ = ("builds", "next_page_token")
    BUILDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    builds: _containers.RepeatedCompositeFieldContainer[Build]
    next_page_token: str
    def __init__(self, builds: _Optional[_Iterable[_Union[Build, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetBuildLogsRequest(_message.Message):
    __slots__ = ("build_id", "offset", "follow")
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    offset: int
    follow: bool
    def __init__(self, build_id: _Optional[str] = ..., offset: _Optional[int] = ..., follow: bool = ...) -> None: ...

class GetBuildLogsResponse(_message.Message):
    __slots__ = ("offset", "at", "step_id", "step", "stream", "text")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    STEP_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    offset: int
    at: _timestamp_pb2.Timestamp
    step_id: str
    step: str
    stream: int
    text: str
    def __init__(self, offset: _Optional[int] = ..., at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., step_id: _Optional[str] = ..., step: _Optional[str] = ..., stream: _Optional[int] = ..., text: _Optional[str] = ...) -> None: ...

class CancelBuildRequest(_message.Message):
    __slots__ = ("build_id",)
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    def __init__(self, build_id: _Optional[str] = ...) -> None: ...

class CancelBuildResponse(_message.Message):
    __slots__ = ("build",)
    BUILD_FIELD_NUMBER: _ClassVar[int]
    build: Build
    def __init__(self, build: _Optional[_Union[Build, _Mapping]] = ...) -> None: ...
