/* The data of a packed file against its hashes and rules. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "formats/packed_read.h"
#include "src/base/half.h"
#include "src/store/finite.h"

static int check_scales(const vlmp_packed *p, const vlmp_packed_linear *linear,
                        const vlmp_tensor *scales, vlmp_error *err)
{
    size_t size = vlmp_dtype_size(scales->dtype), count = scales->bytes / size;
    for (size_t i = 0; i < count; i++) {
        float value = vlmp_scale_at(scales->data, i, scales->dtype);
        if (value > 0 && vlmp_f32_bits(value) < 0x7f800000u) continue;
        return vlmp_fail(
            err, VLMP_ERR_INPUT,
            "%s: scale %zu of '%.200s' at byte %llu is %g; scales are finite and above "
            "zero, make the file again",
            p->base.path, i, linear->name, (unsigned long long)(scales->file_offset + i * size),
            (double)value);
    }
    p->base.release(&p->base, scales);
    return VLMP_OK;
}

/* The bits behind the last code of each row are zero. */
static int check_padding(const vlmp_packed *p, const vlmp_tensor *tensor, int used_bits,
                         vlmp_error *err)
{
    for (int64_t row = 0; used_bits < 8 && row < tensor->shape[0]; row++) {
        size_t at = (size_t)((row + 1) * tensor->shape[1] - 1);
        if (tensor->data[at] >> used_bits == 0) continue;
        return vlmp_fail(err, VLMP_ERR_INPUT,
                         "%s: tensor '%.200s' at byte %llu: the bits behind the last code are not "
                         "zero; make the file again",
                         p->base.path, tensor->name,
                         (unsigned long long)(tensor->file_offset + at));
    }
    return VLMP_OK;
}

static int check_codes(const vlmp_packed *p, const vlmp_packed_linear *linear,
                       const vlmp_tensor *tensor, int used_bits, vlmp_error *err)
{
    VLMP_TRY(check_padding(p, tensor, used_bits, err));
    for (size_t i = 0; linear->scheme.codes == VLMP_CODES_FP8 && i < tensor->bytes; i++)
        if ((tensor->data[i] & 0x7f) == VLMP_E4M3_NAN)
            return vlmp_fail(err, VLMP_ERR_INPUT,
                             "%s: tensor '%.200s' at byte %llu: the code is NaN; make the file "
                             "again",
                             p->base.path, tensor->name,
                             (unsigned long long)(tensor->file_offset + i));
    p->base.release(&p->base, tensor);
    return VLMP_OK;
}

/* Zeros that take more bits than codes are codes nevertheless. */
static int check_zeros(const vlmp_packed *p, const vlmp_packed_linear *linear,
                       const vlmp_tensor *zeros, int used_bits, vlmp_error *err)
{
    VLMP_TRY(check_padding(p, zeros, used_bits, err));
    int bits = vlmp_code_zero_bits(linear->scheme.codes), in_byte = 8 / bits;
    int high = vlmp_code_grid_of(&linear->scheme).high;
    for (size_t i = 0; high < (1 << bits) - 1 && i < zeros->bytes; i++)
        for (int j = 0; j < in_byte; j++)
            if (vlmp_code_at(zeros->data + i, j, bits) > high)
                return vlmp_fail(err, VLMP_ERR_INPUT,
                                 "%s: tensor '%.200s' at byte %llu: a zero is %d, beyond the "
                                 "highest code; make the file again",
                                 p->base.path, zeros->name,
                                 (unsigned long long)(zeros->file_offset + i),
                                 vlmp_code_at(zeros->data + i, j, bits));
    p->base.release(&p->base, zeros);
    return VLMP_OK;
}

static int check_linear(const vlmp_packed *p, const vlmp_packed_linear *linear, vlmp_error *err)
{
    vlmp_packed_shape shape;
    vlmp_packed_shape_of(&shape, linear->n, linear->k, &linear->scheme);
    for (int i = 0; i < VLMP_PACKED_PARTS; i++) {
        if (shape.parts[i].columns == 0) continue;
        char full[VLMP_ST_MAX_NAME + 16];
        snprintf(full, sizeof full, "%s.%s", linear->name,
                 vlmp_packed_part_name((vlmp_packed_part)i, linear->scheme.codes));
        const vlmp_tensor *tensor = vlmp_tensor_table_find(&p->table, full);
        if (i == VLMP_PACKED_SCALES || i == VLMP_PACKED_GLOBAL)
            VLMP_TRY(check_scales(p, linear, tensor, err));
        else if (i == VLMP_PACKED_ZEROS)
            VLMP_TRY(check_zeros(p, linear, tensor, shape.parts[i].used_bits, err));
        else
            VLMP_TRY(check_codes(p, linear, tensor, shape.parts[i].used_bits, err));
    }
    return VLMP_OK;
}

int vlmp_packed_verify(const vlmp_source *source, vlmp_st_progress *progress, void *arg,
                       vlmp_error *err)
{
    const vlmp_packed *p = vlmp_as_packed(source);
    VLMP_TRY(vlmp_st_check_tensors(&p->file, p->hashes, progress, arg, err));
    for (size_t i = 0; i < p->linear_count; i++)
        VLMP_TRY(check_linear(p, &p->linears[i], err));
    VLMP_TRY(vlmp_source_check_finite(source, NULL, NULL, err));
    return vlmp_st_check_digest(&p->file, p->hashes, &p->table, p->base.digest, err);
}
