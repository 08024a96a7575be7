#include "tools/calibration_file.h"

#include "formats/tensor_file.h"

int vlmp_calibration_load(vlmp_calibration *out, const char *path, const vlmp_model *model,
                          const vlmp_identity *identity, char digest[VLMP_SHA256_HEX],
                          vlmp_error *err)
{
    vlmp_tensor_file *file;
    VLMP_TRY(vlmp_tensor_file_open(&file, path, VLMP_CALIBRATION_KEY,
                                   "make a calibration file with vlm-calibrate", err));
    int status = vlmp_tensor_file_verify(file, NULL, NULL, err);
    if (status == VLMP_OK)
        status = vlmp_calibration_import(out, model, identity, vlmp_tensor_file_find, file,
                                         vlmp_tensor_file_metadata(file), path, err);
    if (status == VLMP_OK) vlmp_tensor_file_sha256(file, digest);
    vlmp_tensor_file_close(file);
    return status;
}
