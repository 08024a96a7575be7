#include <errno.h>
#include <stdlib.h>
#include <webp/decode.h>
#include <webp/demux.h>

#include "formats/image_codec.h"
#include "src/base/memory.h"

/* What the decoder holds beside its output: for a pixel (lossless keeps 4 bytes), and for tables.
 */
#define BYTES_A_PIXEL   8
#define BYTES_OF_TABLES ((size_t)4 << 20)

/* libwebp does not always tell lack of memory from damage, but malloc leaves a trace. errno is set
 * to 0 before. */
static int fail(const vlmp_image_bytes *in, vlmp_error *err)
{
    if (errno == ENOMEM) return vlmp_fail_memory(err, in->name);
    return vlmp_fail(err, VLMP_ERR_INPUT, "%s: damaged or truncated WebP", in->name);
}

static int orientation_of(const WebPDemuxer *demuxer)
{
    WebPChunkIterator chunk;
    int exif = VLMP_NO_ORIENTATION, xmp = exif;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        exif = vlmp_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    if (WebPDemuxGetChunk(demuxer, "XMP ", 1, &chunk)) {
        xmp = vlmp_xmp_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return vlmp_orientation(exif, xmp);
}

/* libwebp 1.2 reads an uninitialized pointer when it finds no memory for the tables of
 * lossless data, so whether there is enough is found out before. */
static int check_memory(size_t pixels, const vlmp_image_bytes *in, vlmp_error *err)
{
    void *room = vlmp_alloc(pixels * BYTES_A_PIXEL + BYTES_OF_TABLES, 1);
    if (room == NULL) return vlmp_fail_memory(err, in->name);
    free(room);
    return VLMP_OK;
}

/* The first frame lies on a transparent canvas. rgba: [height][width][4] of the canvas. */
static int decode_frame(uint8_t *rgba, int width, const WebPIterator *frame,
                        const vlmp_image_bytes *in, vlmp_error *err)
{
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config))
        return vlmp_fail(err, VLMP_ERR_SYSTEM, "%s: libwebp is of another version", in->name);
    size_t stride = (size_t)width * 4;
    size_t start = (size_t)frame->y_offset * stride + (size_t)frame->x_offset * 4;
    config.output.colorspace = MODE_RGBA;
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = rgba + start;
    config.output.u.RGBA.stride = (int)stride;
    config.output.u.RGBA.size = (size_t)(frame->height - 1) * stride + (size_t)frame->width * 4;
    VP8StatusCode status = WebPDecode(frame->fragment.bytes, frame->fragment.size, &config);
    return status == VP8_STATUS_OK ? VLMP_OK : fail(in, err);
}

static int read_pixels(vlmp_image *out, bool has_alpha, const WebPDemuxer *demuxer,
                       const vlmp_image_bytes *in, vlmp_error *err)
{
    WebPIterator frame;
    size_t pixels = (size_t)out->width * (size_t)out->height;
    uint8_t *rgba = vlmp_calloc(pixels, 4);
    out->pixels = vlmp_alloc(pixels, 3);
    int status = VLMP_OK;
    if (rgba == NULL || out->pixels == NULL)
        status = vlmp_fail_memory(err, in->name);
    else if (!WebPDemuxGetFrame(demuxer, 1, &frame))
        status = fail(in, err);
    else {
        status = check_memory(pixels, in, err);
        if (status == VLMP_OK) status = decode_frame(rgba, out->width, &frame, in, err);
        WebPDemuxReleaseIterator(&frame);
    }
    for (size_t i = 0; status == VLMP_OK && i < pixels; i++)
        vlmp_image_put(in, out->pixels + 3 * i, rgba + 4 * i, has_alpha ? rgba[4 * i + 3] : 255);
    free(rgba);
    return status;
}

int vlmp_webp_decode(vlmp_image *out, int *orientation, const vlmp_image_bytes *in, vlmp_error *err)
{
    WebPData data = {in->data, in->length};
    WebPBitstreamFeatures features;
    errno = 0;
    if (WebPGetFeatures(in->data, in->length, &features) != VP8_STATUS_OK) return fail(in, err);
    uint64_t pixels = (uint64_t)features.width * (uint64_t)features.height;
    VLMP_TRY(vlmp_image_check_size(in, (uint64_t)features.width, (uint64_t)features.height,
                                   pixels * (4 + BYTES_A_PIXEL), err));
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (demuxer == NULL) return fail(in, err);
    out->width = (int)WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
    out->height = (int)WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
    unsigned frames = WebPDemuxGetI(demuxer, WEBP_FF_FRAME_COUNT);
    int status = VLMP_OK;
    if (out->width != features.width || out->height != features.height) status = fail(in, err);
    if (status == VLMP_OK && frames > 1)
        vlmp_image_notice(in, "an animation of %u frames: the first is read", frames);
    if (status == VLMP_OK) status = read_pixels(out, features.has_alpha, demuxer, in, err);
    *orientation = orientation_of(demuxer);
    WebPDemuxDelete(demuxer);
    if (status == VLMP_OK) return VLMP_OK;
    free(out->pixels);
    out->pixels = NULL;
    return status;
}
