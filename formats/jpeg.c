#include <stdio.h> /* before jpeglib.h, which needs FILE and size_t */

#include <jpeglib.h>

#include <jerror.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "formats/image_codec.h"
#include "src/base/memory.h"

#define MAX_SCANS 256 /* a progressive file with thousands takes hours */

/* Lives in the caller of the function that calls setjmp, so no value of it is lost by longjmp. */
typedef struct {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    const vlmp_image_bytes *in;
    vlmp_image image;
    uint8_t *row; /* one output row of gray or CMYK */
    unsigned char *exif;
    int orientation;
    bool has_rows; /* all of them */
    bool at_end;   /* all bytes are used up */
    int status;    /* of our own checks */
    vlmp_error *err;
} reader;

static void on_error(j_common_ptr cinfo)
{
    reader *r = cinfo->client_data;
    cinfo->err->format_message(cinfo, r->message);
    longjmp(r->jump, 1);
}

/* libjpeg goes on after damage, and so does Pillow. Harmless are an unknown JFIF version or Adobe
 * transform; numbers of a baseline scan header that mean nothing are worth a notice. */
static void on_message(j_common_ptr cinfo, int level)
{
    reader *r = cinfo->client_data;
    int code = cinfo->err->msg_code;
    if (level >= 0 || code == JWRN_JFIF_MAJOR || code == JWRN_ADOBE_XFORM) return;
    cinfo->err->format_message(cinfo, r->message);
    if (code == JWRN_NOT_SEQUENTIAL)
        vlmp_image_notice(r->in, "%s", r->message);
    else if ((r->status = vlmp_image_damage(r->in, r->err, "%s", r->message)) != VLMP_OK)
        longjmp(r->jump, 1);
}

/* Called when all bytes are used up. Pillow refuses such a file if rows are missing, where libjpeg
 * would show gray; without an end marker the last rows are. */
static boolean on_end(j_decompress_ptr cinfo)
{
    reader *r = cinfo->client_data;
    r->at_end = true;
    snprintf(r->message, sizeof r->message, "the file ends before its end marker");
    longjmp(r->jump, 1);
}

static void no_output(j_common_ptr cinfo)
{
    (void)cinfo;
}

static void on_progress(j_common_ptr cinfo)
{
    reader *r = cinfo->client_data;
    if (!cinfo->is_decompressor || r->cinfo.input_scan_number <= MAX_SCANS) return;
    snprintf(r->message, sizeof r->message, "More than %d scans", MAX_SCANS);
    longjmp(r->jump, 1);
}

/* The orientation from the application segments before the first scan. EXIF blocks that span
 * several segments are joined. */
static void read_orientation(reader *r)
{
    static const char xmp_name[] = "http://ns.adobe.com/xap/1.0/"; /* with its NUL */
    size_t length = 0;
    int xmp = VLMP_NO_ORIENTATION;
    if ((r->exif = vlmp_alloc(r->in->length, 1)) == NULL) { /* segments are part of the file */
        r->status = vlmp_fail_memory(r->err, r->in->name);
        return;
    }
    for (jpeg_saved_marker_ptr m = r->cinfo.marker_list; m != NULL; m = m->next) {
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0", 6) == 0) {
            memcpy(r->exif + length, m->data + 6, m->data_length - 6);
            length += m->data_length - 6;
        } else if (m->data_length >= sizeof xmp_name &&
                   memcmp(m->data, xmp_name, sizeof xmp_name) == 0) {
            xmp = vlmp_xmp_orientation(m->data + sizeof xmp_name, m->data_length - sizeof xmp_name);
        }
    }
    r->orientation = vlmp_orientation(vlmp_exif_orientation(r->exif, length), xmp);
}

/* Sizes are in 16 bits each, so the products fit. */
static int check_header(reader *r)
{
    struct jpeg_decompress_struct *c = &r->cinfo;
    uint64_t pixels = (uint64_t)c->image_width * c->image_height;
    int components = c->num_components;
    if (components != 1 && components != 3 && components != 4)
        return vlmp_fail(r->err, VLMP_ERR_INPUT, "%s: a JPEG with %d components is not supported",
                         r->in->name, components);
    /* a progressive file keeps the 16-bit coefficients of the whole picture */
    uint64_t extra = jpeg_has_multiple_scans(c) ? pixels * 2 * (uint64_t)components : 0;
    VLMP_TRY(vlmp_image_check_size(r->in, c->image_width, c->image_height, extra, r->err));
    c->out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    r->image.width = (int)c->image_width;
    r->image.height = (int)c->image_height;
    r->image.pixels = vlmp_alloc((size_t)pixels, 3);
    r->row = vlmp_alloc((size_t)c->image_width, (size_t)components);
    if (r->image.pixels == NULL || r->row == NULL) return vlmp_fail_memory(r->err, r->in->name);
    return VLMP_OK;
}

/* Four components are taken as Adobe stores them, inverted: r->row holds 255 − C, M, Y, K. */
static void convert_row(uint8_t *out, const uint8_t *row, int width, int components)
{
    for (int x = 0; x < width; x++, out += 3, row += components) {
        if (components == 1) {
            memset(out, row[0], 3);
            continue;
        }
        unsigned white = row[3];
        for (int i = 0; i < 3; i++)
            out[i] = (uint8_t)(white - vlmp_div_255((255u - row[i]) * white));
    }
}

static void read_rows(reader *r)
{
    struct jpeg_decompress_struct *c = &r->cinfo;
    size_t stride = (size_t)r->image.width * 3;
    while (c->output_scanline < c->output_height) {
        uint8_t *to = r->image.pixels + c->output_scanline * stride;
        JSAMPROW row = c->num_components == 3 ? to : r->row;
        if (jpeg_read_scanlines(c, &row, 1) != 1) ERREXIT(c, JERR_CANT_SUSPEND);
        if (c->num_components != 3) convert_row(to, row, r->image.width, c->num_components);
    }
}

static bool is_unsupported(const struct jpeg_error_mgr *errors)
{
    static const int codes[] = {JERR_SOF_UNSUPPORTED, JERR_BAD_PRECISION,
                                JERR_ARITH_NOTIMPL,   JERR_CONVERSION_NOTIMPL,
                                JERR_CCIR601_NOTIMPL, JERR_FRACT_SAMPLE_NOTIMPL,
                                JERR_COMPONENT_COUNT, JERR_NOTIMPL,
                                JERR_NOT_COMPILED,    JERR_EMPTY_IMAGE};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (errors->msg_code == codes[i]) return true;
    return errors->msg_code == JERR_UNKNOWN_MARKER && errors->msg_parm.i[0] == 0xf7; /* JPEG-LS */
}

static int fail_decoding(reader *r)
{
    if (r->status != VLMP_OK) return r->status;
    if (r->has_rows && r->at_end) return vlmp_image_damage(r->in, r->err, "%s", r->message);
    if (r->errors.msg_code == JERR_OUT_OF_MEMORY) return vlmp_fail_memory(r->err, r->in->name);
    if (is_unsupported(&r->errors))
        return vlmp_fail(r->err, VLMP_ERR_INPUT,
                         "%s: a kind of JPEG that is not supported (%s); convert it to PNG",
                         r->in->name, r->message);
    return vlmp_fail(r->err, VLMP_ERR_INPUT, "%s: damaged JPEG: %s", r->in->name, r->message);
}

/* Everything that libjpeg may jump out of. */
static int run(reader *r)
{
    if (setjmp(r->jump) != 0) return fail_decoding(r);
    jpeg_create_decompress(&r->cinfo);
    r->cinfo.client_data = r;
    r->cinfo.progress = &r->progress;
    jpeg_mem_src(&r->cinfo, r->in->data, (unsigned long)r->in->length);
    r->cinfo.src->fill_input_buffer = on_end;
    jpeg_save_markers(&r->cinfo, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->cinfo, TRUE);
    if ((r->status = check_header(r)) != VLMP_OK) return r->status;
    read_orientation(r);
    if (r->status != VLMP_OK) return r->status;
    jpeg_start_decompress(&r->cinfo);
    read_rows(r);
    r->has_rows = true;
    jpeg_finish_decompress(&r->cinfo);
    return VLMP_OK;
}

int vlmp_jpeg_decode(vlmp_image *out, int *orientation, const vlmp_image_bytes *in, vlmp_error *err)
{
    reader *r = vlmp_calloc(1, sizeof *r);
    if (r == NULL) return vlmp_fail_memory(err, in->name);
    r->in = in;
    r->err = err;
    r->cinfo.err = jpeg_std_error(&r->errors);
    r->cinfo.client_data = r;
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->errors.output_message = no_output;
    r->progress.progress_monitor = on_progress;
    int status = run(r);
    jpeg_destroy_decompress(&r->cinfo);
    free(r->row);
    free(r->exif);
    if (status == VLMP_OK) {
        *out = r->image;
        *orientation = r->orientation;
    } else {
        free(r->image.pixels);
    }
    free(r);
    return status;
}
