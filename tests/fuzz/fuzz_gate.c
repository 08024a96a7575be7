/* Gate expressions, and whether a run could answer them. */
#include "src/eval/gates.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t length;
    char *text = fuzz_text(&data, &size, &length);
    vlmp_gate gate;
    vlmp_error err = {0};
    if (fuzz_was_read(vlmp_gate_parse(&gate, text, &err), &err)) {
        fuzz_was_read(vlmp_gate_check(&gate, VLMP_METRIC_ALL, true, &err), &err);
        err = (vlmp_error){0};
        fuzz_was_read(vlmp_gate_check(&gate, VLMP_METRIC_PPL, false, &err), &err);
    }
    free(text);
    return 0;
}
