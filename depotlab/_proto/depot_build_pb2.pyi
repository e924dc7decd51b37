from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CacheState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CACHE_STATE_UNSPECIFIED: _ClassVar[CacheState]
    CACHE_STATE_UNCACHED: _ClassVar[CacheState]
    CACHE_STATE_CACHED: _ClassVar[CacheState]
CACHE_STATE_UNSPECIFIED: CacheState
CACHE_STATE_UNCACHED: CacheState
CACHE_STATE_CACHED: CacheState

class CreateBuildRequest(_message.Message):
    __slots__ = ("project_id",)
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    def __init__(self, project_id: _Optional[str] = ...) -> None: ...

class CreateBuildResponse(_message.Message):
    __slots__ = ("build_id", "build_token")
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_TOKEN_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    build_token: str
    def __init__(self, build_id: _Optional[str] = ..., build_token: _Optional[str] = ...) -> None: ...

class FinishBuildRequest(_message.Message):
    __slots__ = ("build_id", "success", "error")
    class Success(_message.Message):
        __slots__ = ()
        def __init__(self) -> None: ...
    class Error(_message.Message):
        __slots__ = ("error",)
        ERROR_FIELD_NUMBER: _ClassVar[int]
        error: str
        def __init__(self, error: _Optional[str] = ...) -> None: ...
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    build_id: str
    success: FinishBuildRequest.Success
    error: FinishBuildRequest.Error
    def __init__(self, build_id: _Optional[str] = ..., success: _Optional[_Union[FinishBuildRequest.Success, _Mapping]] = ..., error: _Optional[_Union[FinishBuildRequest.Error, _Mapping]] = ...) -> None: ...

class FinishBuildResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BuildStep(_message.Message):
    __slots__ = ("name", "digest", "started_at", "completed_at", "cache_state", "error", "has_logs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_AT_FIELD_NUMBER: _ClassVar[int]
    CACHE_STATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    HAS_LOGS_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    started_at: _timestamp_pb2.Timestamp
    completed_at: _timestamp_pb2.Timestamp
    cache_state: CacheState
    error: str
    has_logs: bool
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., started_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., completed_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., cache_state: _Optional[_Union[CacheState, str]] = ..., error: _Optional[str] = ..., has_logs: bool = ...) -> None: ...

class GetBuildStepsRequest(_message.Message):
    __slots__ = ("project_id", "build_id", "page_size", "page_token")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    build_id: str
    page_size: int
    page_token: str
    def __init__(self, project_id: _Optional[str] = ..., build_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetBuildStepsResponse(_message.Message):
    __slots__ = ("build_steps", "next_page_token")
    BUILD_STEPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    build_steps: _containers.RepeatedCompositeFieldContainer[BuildStep]
    next_page_token: str
    def __init__(self, build_steps: _Optional[_Iterable[_Union[BuildStep, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetBuildStepLogsRequest(_message.Message):
    __slots__ = ("project_id", "build_id", "build_step_digest", "page_size", "page_token")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_ID_FIELD_NUMBER: _ClassVar[int]
    BUILD_STEP_DIGEST_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    build_id: str
    build_step_digest: str
    page_size: int
    page_token: str
    def __init__(self, project_id: _Optional[str] = ..., build_id: _Optional[str] = ..., build_step_digest: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class GetBuildStepLogsResponse(_message.Message):
    __slots__ = ("logs", "next_page_token")
    class Log(_message.Message):
        __slots__ = ("message", "timestamp")
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
        message: str
        timestamp: _timestamp_pb2.Timestamp
        def __init__(self, message: _Optional[str] = ..., timestamp: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
    LOGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[GetBuildStepLogsResponse.Log]
    next_page_token: str
    def __init__(self, logs: _Optional[_Iterable[_Union[GetBuildStepLogsResponse.Log, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("tag", "digest", "pushed_at", "size_bytes")
    TAG_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PUSHED_AT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    tag: str
    digest: str
    pushed_at: _timestamp_pb2.Timestamp
    size_bytes: int
    def __init__(self, tag: _Optional[str] = ..., digest: _Optional[str] = ..., pushed_at: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class ListImagesRequest(_message.Message):
    __slots__ = ("project_id", "page_size", "page_token")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    page_size: int
    page_token: str
    def __init__(self, project_id: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListImagesResponse(_message.Message):
    __slots__ = ("images", "next_page_token")
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    images: _containers.RepeatedCompositeFieldContainer[Image]
    next_page_token: str
    def __init__(self, images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class DeleteImageRequest(_message.Message):
    __slots__ = ("project_id", "image_tags")
    PROJECT_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_TAGS_FIELD_NUMBER: _ClassVar[int]
    project_id: str
    image_tags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, project_id: _Optional[str] = ..., image_tags: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteImageResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
