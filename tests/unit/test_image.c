/* PNG and JPEG: pixels equal the reference's; what is damaged, cut, too large or of another kind is
 * refused with the file's name. */
#include "tests/unit/golden_images.h"

#include "formats/image_file.h"
#include "src/base/file.h"

static void read_golden(const char *name, unsigned char **bytes, size_t *length)
{
    char path[4096];
    vlmp_error err = {0};
    snprintf(path, sizeof path, "%s%s", GOLDEN_IMAGES, name);
    assert_int_equal(vlmp_file_read((char **)bytes, length, path, 1 << 20, &err), VLMP_OK);
}

static const vlmp_image_options drop = {.alpha = VLMP_ALPHA_DROP}, strict = {.strict = true};

/* Both rules for alpha; what is damaged is refused by a strict reader, and nothing else is. */
static void check_line(const char *line)
{
    char name[64], path[4096], dropped[VLMP_SHA256_HEX], white[VLMP_SHA256_HEX];
    int w, h, variant;
    assert_int_equal(
        sscanf(line, "%63s %d %d %64s %64s %d", name, &w, &h, dropped, white, &variant), 6);
    snprintf(path, sizeof path, "%s%s", GOLDEN_IMAGES, name);
    vlmp_image_report report;
    for (int i = 0; i < 2; i++) {
        vlmp_image image;
        vlmp_error err = {0};
        int status = vlmp_image_load(&image, path, i == 0 ? &drop : NULL, &report, &err);
        if (status != VLMP_OK) fail_msg("%s", err.message);
        if (image.width != w || image.height != h)
            fail_msg("%s: got %d x %d", line, image.width, image.height);
        assert_golden(image.pixels, (size_t)w * (size_t)h * 3, i == 0 ? dropped : white, line);
        free(image.pixels);
    }
    if (strcmp(dropped, white) != 0 && !report.transparent) fail_msg("%s: not transparent?", line);
    if (variant == 0 && report.damaged) fail_msg("%s: %s", name, report.warning);
    if (report.damaged != (report.damaged && report.warning[0] != '\0')) fail_msg("%s", name);
    vlmp_image image;
    vlmp_error err = {0};
    int status = vlmp_image_load(&image, path, &strict, NULL, &err);
    if (report.damaged ? status != VLMP_ERR_INPUT : status != VLMP_OK)
        fail_msg("%s: strict gives %d: %s", name, status, err.message);
    if (report.damaged && strstr(err.message, "--strict-pictures") == NULL)
        fail_msg("%s: no hint in '%s'", name, err.message);
    free(image.pixels);
}

static void equals_reference(void **state)
{
    (void)state;
    each_golden_line("files.txt", 160, check_line);
}

static void check_refused(const char *line)
{
    char path[4096];
    vlmp_image image;
    vlmp_error err = {0};
    snprintf(path, sizeof path, "%s%s", GOLDEN_IMAGES, line);
    if (vlmp_image_load(&image, path, NULL, NULL, &err) != VLMP_ERR_INPUT)
        fail_msg("%s is read, the reference refuses it", line);
    assert_null(image.pixels);
    bool kind = strstr(line, "lossless.jpg") != NULL || strstr(line, "12-bit") != NULL;
    if ((strstr(err.message, "not supported") != NULL) != kind ||
        (strstr(err.message, "damaged") != NULL) == kind)
        fail_msg("%s", err.message);
}

static void refuses_what_the_reference_refuses(void **state)
{
    (void)state;
    each_golden_line("refused.txt", 35, check_refused);
}

/* What is out of the ordinary is said, whether it is damage or not. */
static void says_what_is_odd(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool damaged, transparent;
        const char *text; /* "": nothing is said */
    } cases[] = {
        {"wide.png", false, false, ""},
        {"color6-8.png", false, true, ""},
        {"gray2-clear85.png", false, true, ""},
        {"palette4-clear.png", false, true, ""},
        {"bad-wide-no-end.png", true, false, "end chunk is missing"},
        {"bad-wide-text-checksum-after.png", true, false, "wrong checksum"},
        {"bad-wide-data-checksum.png", true, false, "wrong checksum (byte 33)"},
        {"bad-wide-sum-missing.png", true, false, "end of the picture's data is missing"},
        {"bad-422-scan-zeros.jpg", false, false, "Invalid SOS parameters"},
        {"bad-422-bit.jpg", true, false, "premature end"},
        {"bad-422-end-early.jpg", true, false, "premature end"},
        {"bad-422-junk-between.jpg", true, false, "2 extraneous bytes"},
        {"bad-420-restart-restart-wrong.jpg", true, false, "Corrupt JPEG data"},
        {"animated.webp", false, false, "an animation of 2 frames"},
        {"lossless-alpha.webp", false, true, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[4096];
        vlmp_image image;
        vlmp_image_report report;
        vlmp_error err = {0};
        snprintf(path, sizeof path, "%s%s", GOLDEN_IMAGES, cases[i].name);
        assert_int_equal(vlmp_image_load(&image, path, NULL, &report, &err), VLMP_OK);
        free(image.pixels);
        if (report.damaged != cases[i].damaged || report.transparent != cases[i].transparent ||
            strstr(report.warning, cases[i].text) == NULL ||
            (cases[i].text[0] == '\0' && report.warning[0] != '\0'))
            fail_msg("%s: %d %d '%s'", cases[i].name, report.damaged, report.transparent,
                     report.warning);
    }
}

/* Refused with this text in the message, the name in front and nothing allocated. */
static void assert_refused(const void *bytes, size_t length, const vlmp_image_limits *limits,
                           const char *text)
{
    vlmp_image image = {1, 1, (uint8_t *)1};
    vlmp_image_options options = {.limits = limits};
    vlmp_error err = {0};
    assert_int_equal(vlmp_image_decode(&image, bytes, length, "dir/a.pic", &options, NULL, &err),
                     VLMP_ERR_INPUT);
    assert_null(image.pixels);
    if (strstr(err.message, text) == NULL || strncmp(err.message, "dir/a.pic: ", 11) != 0)
        fail_msg("expected '%s' in: %s", text, err.message);
}

/* A prefix of a picture is refused, unless only what follows the pixels is missing: then they are
 * the whole picture's, and a strict reader refuses it. */
static void check_prefix(const char *name, const unsigned char *bytes, size_t n,
                         const vlmp_image *whole)
{
    unsigned char *part = malloc(n + 1); /* exact, so that a sanitizer sees overreads */
    memcpy(part, bytes, n);
    part = realloc(part, n == 0 ? 1 : n);
    vlmp_image image;
    vlmp_error err = {0}, refused = {0};
    int status = vlmp_image_decode(&image, part, n, "part", NULL, NULL, &err);
    if (status == VLMP_OK)
        assert_memory_equal(image.pixels, whole->pixels,
                            (size_t)whole->width * (size_t)whole->height * 3);
    else if (status != VLMP_ERR_INPUT)
        fail_msg("%s cut to %zu bytes: %s", name, n, err.message);
    free(image.pixels);
    if (vlmp_image_decode(&image, part, n, "part", &strict, NULL, &refused) != VLMP_ERR_INPUT)
        fail_msg("%s cut to %zu bytes passed", name, n);
    free(part);
}

static void refuses_truncation(void **state)
{
    (void)state;
    static const char *const names[] = {"color2-8.png", "color3-4-interlaced.png",
                                        "420.jpg",      "444-progressive.jpg",
                                        "exif6.jpg",    "cmyk.jpg",
                                        "lossy.webp",   "lossless-alpha.webp"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char *bytes;
        size_t length;
        vlmp_image whole;
        vlmp_error err = {0};
        read_golden(names[i], &bytes, &length);
        assert_int_equal(vlmp_image_decode(&whole, bytes, length, "x", NULL, NULL, &err), VLMP_OK);
        for (size_t n = 0; n < length; n++)
            check_prefix(names[i], bytes, n, &whole);
        free(whole.pixels);
        free(bytes);
    }
}

static void refuses_damage(void **state)
{
    (void)state;
    unsigned char *bytes;
    size_t length;
    read_golden("color2-8.png", &bytes, &length);
    for (size_t i = 8; i < length; i++) { /* every byte is under some checksum */
        bytes[i] ^= 0x10;
        vlmp_image image;
        vlmp_image_report report;
        vlmp_error err = {0}, refused = {0};
        int status = vlmp_image_decode(&image, bytes, length, "bad", NULL, &report, &err);
        if (status != VLMP_ERR_INPUT && (status != VLMP_OK || !report.damaged))
            fail_msg("flipped byte %zu: %d %s", i, status, err.message);
        free(image.pixels);
        if (vlmp_image_decode(&image, bytes, length, "bad", &strict, NULL, &refused) !=
            VLMP_ERR_INPUT)
            fail_msg("flipped byte %zu passed", i);
        bytes[i] ^= 0x10;
    }
    free(bytes);
}

static void be32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (24 - 8 * i));
}

/* A PNG's first 33 bytes claiming this size; the checksum is not reached. */
static void claim_png(unsigned char out[33], uint32_t width, uint32_t height)
{
    static const unsigned char head[16] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n',
                                           0,    0,   0,   13,  'I',  'H',  'D',  'R'};
    memset(out, 0, 33);
    memcpy(out, head, 16);
    be32(out + 16, width);
    be32(out + 20, height);
    out[24] = 8;
    out[25] = 2;
}

/* A JPEG up to its frame header. */
static void claim_jpeg(unsigned char out[64], size_t *length, int width, int height, int components)
{
    static const unsigned char sos[] = {0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0};
    unsigned char *p = out;
    *p++ = 0xff, *p++ = 0xd8, *p++ = 0xff, *p++ = 0xc0, *p++ = 0;
    *p++ = (unsigned char)(8 + 3 * components), *p++ = 8;
    *p++ = (unsigned char)(height >> 8), *p++ = (unsigned char)height;
    *p++ = (unsigned char)(width >> 8), *p++ = (unsigned char)width;
    *p++ = (unsigned char)components;
    for (int i = 1; i <= components; i++)
        *p++ = (unsigned char)i, *p++ = 0x11, *p++ = 0;
    memcpy(p, sos, sizeof sos);
    *length = (size_t)(p - out) + sizeof sos;
}

static void refuses_claims(void **state)
{
    (void)state;
    unsigned char bytes[64];
    size_t length;
    claim_png(bytes, 100000, 100000);
    assert_refused(bytes, 33, NULL, "178956970");
    claim_png(bytes, 0x7fffffff, 0x7fffffff);
    assert_refused(bytes, 33, NULL, "2147483647 x 2147483647");
    claim_png(bytes, 178956970, 1); /* few enough pixels, but libpng would need 24 bytes each */
    assert_refused(bytes, 33, NULL, "memory");
    claim_png(bytes, 0, 5);
    assert_refused(bytes, 33, NULL, "no pixels");
    claim_png(bytes, 5, 5); /* a chunk of 2 GB, which libpng would allocate (found by fuzzing) */
    memcpy(bytes + 33, "\x7a\0\0\x5fzTXtkey\0\0\0\0\0", 16);
    assert_refused(bytes, 49, NULL, "a chunk");
    claim_jpeg(bytes, &length, 65500, 65500, 3);
    assert_refused(bytes, length, NULL, "178956970");
    claim_jpeg(bytes, &length, 65535, 65535, 3);
    assert_refused(bytes, length, NULL, "65500");
    claim_jpeg(bytes, &length, 5, 0, 3);
    assert_refused(bytes, length, NULL, "JPEG");
    claim_jpeg(bytes, &length, 5, 5, 2);
    assert_refused(bytes, length, NULL, "2 components");
}

static void obeys_limits(void **state)
{
    (void)state;
    static const char *const names[] = {"420.jpg", "444-progressive.jpg", "wide.png"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unsigned char *bytes;
        size_t length;
        read_golden(names[i], &bytes, &length);
        vlmp_image image;
        vlmp_error err = {0};
        vlmp_image_limits limits = vlmp_image_default_limits;
        vlmp_image_options options = {.limits = &limits};
        assert_int_equal(vlmp_image_decode(&image, bytes, length, "x", &options, NULL, &err),
                         VLMP_OK);
        uint64_t pixels = (uint64_t)image.width * (uint64_t)image.height;
        free(image.pixels);
        limits.max_pixels = pixels;
        assert_int_equal(vlmp_image_decode(&image, bytes, length, "x", &options, NULL, &err),
                         VLMP_OK);
        free(image.pixels);
        limits.max_pixels = pixels - 1;
        assert_refused(bytes, length, &limits, "more than the limit");
        limits = vlmp_image_default_limits;
        limits.max_memory_bytes = pixels * 3 - 1;
        assert_refused(bytes, length, &limits, "bytes of memory");
        free(bytes);
    }
    char path[4096];
    vlmp_image image;
    vlmp_error err = {0};
    vlmp_image_limits limits = vlmp_image_default_limits;
    vlmp_image_options options = {.limits = &limits};
    limits.max_file_bytes = 100;
    snprintf(path, sizeof path, "%s420.jpg", GOLDEN_IMAGES);
    assert_int_equal(vlmp_image_load(&image, path, &options, NULL, &err), VLMP_ERR_INPUT);
    err = (vlmp_error){0};
    assert_int_equal(vlmp_image_load(&image, GOLDEN_IMAGES "absent.png", NULL, NULL, &err),
                     VLMP_ERR_INPUT);
    assert_non_null(strstr(err.message, "absent.png"));
    err = (vlmp_error){0};
    assert_int_equal(vlmp_image_load(&image, GOLDEN_IMAGES, NULL, NULL, &err), VLMP_ERR_INPUT);
}

static void names_other_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        const char *text;
    } kinds[] = {
        {"", 0, "empty"},
        {"GIF89a", 6, "a GIF picture; convert it to PNG"},
        {"RIFF\1\0\0\0WEBPVP8 ", 16, "damaged or truncated WebP"},
        {"BM\1\2", 4, "BMP"},
        {"II*\0\1", 5, "TIFF"},
        {"MM\0+", 4, "TIFF"},
        {"\0\0\0\x18"
         "ftypavif",
         12, "AVIF"},
        {"\0\0\0\x18"
         "ftypheic",
         12, "HEIC"},
        {"\0\0\0\x18"
         "ftypisom",
         12, "a video"},
        {"%PDF-1.7", 8, "PDF"},
        {"<svg xmlns", 10, "SVG"},
        {"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- x -->\n<SVG >", 46, "SVG"},
        {"<?xml version=\"1.0\"?><html>", 27, "HTML"},
        {"\n<!DOCTYPE html>", 16, "HTML"},
        {"<?xml version=\"1.0\"?><x>", 24, "XML"},
        {"version https://git-lfs.github.com/spec/v1", 42, "git lfs pull"},
        {"hello", 5, "of an unknown kind; pictures must be PNG, JPEG or WebP"},
        {"\x89PNG", 4, "unknown"},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        assert_refused(kinds[i].bytes, kinds[i].length, NULL, kinds[i].text);
}

static size_t put(unsigned char *out, size_t at, const void *bytes, size_t length)
{
    memcpy(out + at, bytes, length);
    return at + length;
}

/* A valid progressive JPEG of 8 × 8 gray pixels in 1 + scans scans: zero coefficients, one bit
 * each, first with 3 bits left out, then refined. */
static size_t many_scans(unsigned char *out, int scans)
{
    static const unsigned char frame[] = {0xff, 0xd8, 0xff, 0xc2, 0, 17,   8, 0, 8,    0, 8,
                                          3,    1,    0x11, 0,    2, 0x11, 0, 3, 0x11, 0};
    static const unsigned char dqt[] = {0xff, 0xdb, 0, 67, 0};
    static const unsigned char one_code[17] = {1};
    size_t at = put(out, 0, frame, sizeof frame);
    at = put(out, at, dqt, sizeof dqt);
    memset(out + at, 1, 64);
    at += 64;
    for (int table = 0; table < 2; table++) { /* DC 0 and AC 0: the symbol 0 alone */
        unsigned char dht[5] = {0xff, 0xc4, 0, 20, (unsigned char)(table << 4)};
        at = put(out, at, dht, sizeof dht);
        at = put(out, at, one_code, sizeof one_code);
    }
    static const unsigned char dc[] = {0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 0, 0, 0x1f};
    at = put(out, at, dc, sizeof dc);
    for (int i = 0; i < scans; i++) {
        unsigned char k = (unsigned char)(1 + i % 189 % 63),
                      component = (unsigned char)(1 + i % 189 / 63);
        unsigned char low = (unsigned char)(3 - i / 189),
                      high = i < 189 ? 0 : (unsigned char)(low + 1);
        unsigned char sos[] = {
            0xff, 0xda, 0, 8, 1, component, 0, k, k, (unsigned char)(high << 4 | low), 0x7f};
        at = put(out, at, sos, sizeof sos);
    }
    static const unsigned char eoi[] = {0xff, 0xd9};
    return put(out, at, eoi, sizeof eoi);
}

static void counts_scans(void **state)
{
    (void)state;
    static unsigned char bytes[16384];
    vlmp_image image;
    vlmp_error err = {0};
    size_t length = many_scans(bytes, 250);
    if (vlmp_image_decode(&image, bytes, length, "x", NULL, NULL, &err) != VLMP_OK)
        fail_msg("%s", err.message);
    for (int i = 0; i < 8 * 8 * 3; i++)
        assert_in_range(image.pixels[i], 0, 255);
    assert_int_equal(image.width, 8);
    free(image.pixels);
    length = many_scans(bytes, 300);
    assert_refused(bytes, length, NULL, "256 scans");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_reference), cmocka_unit_test(refuses_what_the_reference_refuses),
        cmocka_unit_test(says_what_is_odd), cmocka_unit_test(refuses_truncation),
        cmocka_unit_test(refuses_damage),   cmocka_unit_test(refuses_claims),
        cmocka_unit_test(obeys_limits),     cmocka_unit_test(names_other_kinds),
        cmocka_unit_test(counts_scans),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
