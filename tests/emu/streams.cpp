/* Streams of the emulated device: queues that run when somebody waits, as late as CUDA allows.
 * Copies from and to memory of cudaMallocHost are no exception, so that who reads a result too
 * early, or changes what is still to be copied, sees it. */
#include "tests/emu/runtime.h"

#include <chrono>
#include <deque>
#include <functional>
#include <set>

using namespace emu;

typedef std::function<void()> work;

struct CUgraph_st {
    std::vector<work> steps;
    bool invalid; /* by what may not happen while it is captured; nothing more is */
};
struct CUgraphExec_st {
    std::vector<work> steps;
};
struct CUstream_st {
    std::deque<work> waiting;
    uint64_t asked, done;
    bool blocking; /* waits for and is waited for by the default stream */
    CUgraph_st *capture;
};
struct CUevent_st {
    CUstream_st *stream; /* null: recorded in the default stream, or never */
    uint64_t position;
    double at;     /* ms, when it happened */
    bool captured; /* last recorded while its stream was captured: it never happens by itself */
};

namespace {

std::set<CUstream_st *> streams;

void run_until(CUstream_st *stream, uint64_t position)
{
    device_open();
    while (stream->done < position && !stream->waiting.empty()) {
        const work next = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        if (broken == cudaSuccess) next();
        stream->done++;
    }
    device_close();
}

void run_blocking_streams()
{
    for (CUstream_st *stream : streams)
        if (stream->blocking) run_until(stream, stream->asked);
}

/* What may not happen to a stream that is captured: the capture comes to nothing. */
cudaError_t invalidate(CUstream_st *stream, cudaError_t error)
{
    stream->capture->invalid = true;
    return failed(error);
}

/* The default stream would wait for it. */
CUstream_st *captured_blocking_stream()
{
    for (CUstream_st *stream : streams)
        if (stream->blocking && stream->capture != nullptr) return stream;
    return nullptr;
}

cudaError_t submit_work(CUstream_st *stream, work what)
{
    if (stream == nullptr) {
        if (CUstream_st *waited = captured_blocking_stream())
            return invalidate(waited, cudaErrorStreamCaptureImplicit);
        run_blocking_streams();
        device_open();
        if (broken == cudaSuccess) what();
        device_close();
    } else if (stream->capture != nullptr) {
        if (stream->capture->invalid) return failed(cudaErrorStreamCaptureInvalidated);
        stream->capture->steps.push_back(std::move(what));
    } else {
        stream->waiting.push_back(std::move(what));
        stream->asked++;
    }
    return cudaSuccess;
}

/* Which side of a copy is the device's. */
bool to_device(cudaMemcpyKind kind, const void *to)
{
    return kind == cudaMemcpyDefault
               ? in_device(to)
               : kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice;
}

bool from_device(cudaMemcpyKind kind, const void *from)
{
    return kind == cudaMemcpyDefault
               ? in_device(from)
               : kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice;
}

void copy_rows(const char *call, void *to, size_t to_pitch, const void *from, size_t from_pitch,
               size_t width, size_t height, cudaMemcpyKind kind)
{
    for (size_t row = 0; row < height; row++) {
        unsigned char *target = static_cast<unsigned char *>(to) + row * to_pitch;
        const unsigned char *source = static_cast<const unsigned char *>(from) + row * from_pitch;
        std::string why;
        if (to_device(kind, to)) why = device_why_not(target, width);
        if (why.empty() && from_device(kind, from)) why = device_why_not(source, width);
        if (why.empty() && !to_device(kind, to) && in_device(target))
            why = "the target is the device's";
        if (why.empty() && !from_device(kind, from) && in_device(source))
            why = "the source is the device's";
        if (!why.empty()) return wrong_use(call, why);
        memmove(target, source, width);
    }
}

double now_ms()
{
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

bool resident_together(size_t blocks, size_t threads)
{
    const size_t each = threads > MAX_THREADS / 2 ? 1 : 2,
                 of = static_cast<size_t>(device.multiprocessors);
    return blocks <= each * of && blocks <= MAX_BLOCKS && blocks * threads <= MAX_RESIDENT;
}

std::string launch_why_not(const launch_config &c, const void *kernel)
{
    const size_t threads = static_cast<size_t>(c.block.x) * c.block.y * c.block.z;
    if (threads == 0 || threads > MAX_THREADS) return "a block has 1 to 1024 threads";
    if (c.grid.x == 0 || c.grid.y == 0 || c.grid.z == 0) return "the grid is empty";
    if (c.grid.y > 65535 || c.grid.z > 65535) return "the grid has more than 65535 rows";
    if (c.dynamic_shared > shared_limit(kernel))
        return "more dynamic shared memory than cudaFuncSetAttribute allowed";
    return "";
}

} // namespace

namespace emu {

alignas(16) unsigned char argument_area[ARGUMENT_BYTES];

cudaError_t start_outside_captures()
{
    const cudaError_t error = start();
    return error != cudaSuccess ? error : outside_captures();
}

cudaError_t outside_captures()
{
    cudaError_t refused = cudaSuccess;
    for (CUstream_st *stream : streams)
        if (stream->capture != nullptr)
            refused = invalidate(stream, cudaErrorStreamCaptureUnsupported);
    return refused;
}

void run_all()
{
    for (CUstream_st *stream : streams)
        run_until(stream, stream->asked);
}

void submit(const launch_config &config, const void *kernel, void (*call)(const void *),
            const void *arguments, size_t bytes)
{
    locked lock;
    if (start() != cudaSuccess) return;
    const size_t blocks = static_cast<size_t>(config.grid.x) * config.grid.y * config.grid.z;
    const size_t threads = static_cast<size_t>(config.block.x) * config.block.y * config.block.z;
    const std::string why = launch_why_not(config, kernel);
    if (!why.empty() || bytes > sizeof argument_area) {
        failed(cudaErrorInvalidConfiguration);
        return;
    }
    if (config.cooperative && !resident_together(blocks, threads)) {
        failed(cudaErrorCooperativeLaunchTooLarge);
        return;
    }
    const std::string copy(static_cast<const char *>(arguments), bytes);
    (void)submit_work(config.stream, [=] {
        memcpy(argument_area, copy.data(), copy.size());
        if (!run_grid(config, call, argument_area)) broken = cudaErrorLaunchFailure;
    });
}

} // namespace emu

extern "C" {

cudaError_t cudaFreeAsync(void *at, cudaStream_t stream)
{
    locked lock;
    const cudaError_t error = submit_work(stream, [=] {
        if (at != nullptr && !device_free(at))
            wrong_use("cudaFreeAsync", "no buffer begins there, or it was freed");
    });
    return error != cudaSuccess ? error : start();
}

cudaError_t cudaMemcpy2DAsync(void *to, size_t to_pitch, const void *from, size_t from_pitch,
                              size_t width, size_t height, enum cudaMemcpyKind kind,
                              cudaStream_t stream)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    if (height == 0 || width == 0) return cudaSuccess;
    if (to_pitch < width || from_pitch < width) return failed(cudaErrorInvalidValue);
    /* Memory that the driver does not know is copied before the call returns. */
    const bool pageable = (!to_device(kind, to) && !host_pinned(to)) ||
                          (!from_device(kind, from) && !host_pinned(from));
    if (stream != nullptr && stream->capture != nullptr && pageable)
        return invalidate(stream, cudaErrorStreamCaptureUnsupported);
    const cudaError_t refused = submit_work(stream, [=] {
        copy_rows("cudaMemcpyAsync", to, to_pitch, from, from_pitch, width, height, kind);
    });
    if (refused != cudaSuccess) return refused;
    if (stream != nullptr && pageable) run_until(stream, stream->asked);
    return failed(broken);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    return cudaMemcpy2DAsync(to, bytes, from, bytes, bytes, 1, kind, stream);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind)
{
    return cudaMemcpyAsync(to, from, bytes, kind, nullptr);
}

cudaError_t cudaMemsetAsync(void *at, int value, size_t bytes, cudaStream_t stream)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    const cudaError_t refused = submit_work(stream, [=] {
        const std::string why = bytes != 0 ? device_why_not(at, bytes) : "";
        if (!why.empty()) return wrong_use("cudaMemset", why);
        memset(at, value, bytes);
    });
    return refused != cudaSuccess ? refused : failed(broken);
}

cudaError_t cudaMemset(void *at, int value, size_t bytes)
{
    return cudaMemsetAsync(at, value, bytes, nullptr);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    *stream = new CUstream_st{{}, 0, 0, (flags & cudaStreamNonBlocking) == 0, nullptr};
    streams.insert(*stream);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
    return cudaStreamCreateWithFlags(stream, 0);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    locked lock;
    if (streams.count(stream) == 0) return failed(cudaErrorInvalidResourceHandle);
    run_until(stream, stream->asked);
    streams.erase(stream);
    delete stream->capture;
    delete stream;
    return start();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    if (stream == nullptr) {
        if (CUstream_st *waited = captured_blocking_stream())
            return invalidate(waited, cudaErrorStreamCaptureImplicit);
        run_blocking_streams();
        return failed(broken);
    }
    if (stream->capture != nullptr) return invalidate(stream, cudaErrorStreamCaptureUnsupported);
    run_until(stream, stream->asked);
    return failed(broken);
}

cudaError_t cudaStreamQuery(cudaStream_t stream)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    if (stream != nullptr && stream->capture != nullptr)
        return invalidate(stream, cudaErrorStreamCaptureUnsupported);
    if (stream == nullptr || stream->waiting.empty()) return cudaSuccess;
    run_until(stream, stream->done + 1); /* time goes on for who asks again */
    return cudaErrorNotReady;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    *event = new CUevent_st{nullptr, 0, 0, false};
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    return cudaEventCreateWithFlags(event, 0);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    locked lock;
    run_all();
    delete event;
    return start();
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    const cudaError_t refused = submit_work(stream, [=] { event->at = now_ms(); });
    if (refused != cudaSuccess) return refused;
    event->stream = stream;
    event->position = stream != nullptr ? stream->asked : 0;
    event->captured = stream != nullptr && stream->capture != nullptr;
    return cudaSuccess;
}

/* Who waits for an event of a capture, and is not captured with it, has misunderstood. */
static cudaError_t refuse_captured(CUevent_st *event)
{
    if (!event->captured) return cudaSuccess;
    const bool is_there = streams.count(event->stream) != 0 && event->stream->capture != nullptr;
    return is_there ? invalidate(event->stream, cudaErrorCapturedEvent)
                    : failed(cudaErrorCapturedEvent);
}

static void reach(CUstream_st *stream, uint64_t position)
{
    if (stream != nullptr && streams.count(stream) != 0) run_until(stream, position);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    CUstream_st *other = event->stream;
    const uint64_t position = event->position;
    if (other == stream) return cudaSuccess;
    const cudaError_t refused = refuse_captured(event);
    return refused != cudaSuccess ? refused : submit_work(stream, [=] { reach(other, position); });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    const cudaError_t refused = refuse_captured(event);
    if (refused != cudaSuccess) return refused;
    reach(event->stream, event->position);
    return failed(broken);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    const cudaError_t refused = refuse_captured(event);
    if (refused != cudaSuccess) return refused;
    CUstream_st *stream = event->stream;
    if (stream == nullptr || streams.count(stream) == 0 || stream->done >= event->position)
        return cudaSuccess;
    run_until(stream, stream->done + 1);
    return cudaErrorNotReady;
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t from, cudaEvent_t to)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    *milliseconds = static_cast<float>(to->at - from->at);
    return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    if (stream == nullptr || stream->capture != nullptr)
        return failed(cudaErrorStreamCaptureUnsupported);
    stream->capture = new CUgraph_st{{}, false};
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    locked lock;
    cudaError_t error = start();
    CUgraph_st *captured = stream->capture;
    stream->capture = nullptr;
    if (error == cudaSuccess && captured == nullptr) error = failed(cudaErrorIllegalState);
    if (error == cudaSuccess && captured->invalid)
        error = failed(cudaErrorStreamCaptureInvalidated);
    if (error != cudaSuccess) {
        delete captured;
        captured = nullptr;
    }
    *graph = captured;
    return error;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *exec, cudaGraph_t graph,
                                          unsigned long long)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    *exec = new CUgraphExec_st{graph->steps};
    return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    locked lock;
    const cudaError_t error = start();
    if (error != cudaSuccess) return error;
    cudaError_t refused = cudaSuccess;
    for (const work &step : exec->steps)
        if (refused == cudaSuccess) refused = submit_work(stream, step);
    return refused;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    locked lock;
    delete exec;
    return start();
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    locked lock;
    delete graph;
    return start();
}
}
