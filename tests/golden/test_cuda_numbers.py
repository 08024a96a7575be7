#!/usr/bin/env python3
"""scripts/cuda-numbers.py reads what ptxas and nvdisasm print, and sees what changed.

    tests/golden/test_cuda_numbers.py SOURCE_ROOT
"""
import importlib.util
import os
import sys

SPEC = importlib.util.spec_from_file_location("numbers", os.path.join(sys.argv[1], "scripts", "cuda-numbers.py"))
NUMBERS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(NUMBERS)
FAILED = []


def same(what, got, expected):
    print("%s: %s" % ("ok" if got == expected else "FAILED", what))
    if got != expected:
        FAILED.append(what)
        print("  got %r\n  expected %r" % (got, expected))


PTXAS = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z4rowsIfEvPT_' for 'sm_80'
ptxas info    : Function properties for _Z4rowsIfEvPT_
    88 bytes stack frame, 12 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 40 registers, used 1 barriers, 88 bytes cumulative stack size, 1664 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function '_Z4copyPf' for 'sm_80'
ptxas info    : Function properties for _Z4copyPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
"""
SASS = """.text._Z4copyPf:
        /*0000*/                   LDG.E R9, desc[UR8][R2.64] ;
.L_x_9:
        /*0010*/                   MOV R1, R2 ;
.L_x_1:
        /*0020*/                   LDG.E.128.CONSTANT R4, desc[UR8][R2.64] ;
        /*0030*/              @!P0 LDG.E.U16 R8, desc[UR8][R2.64+0x10] ;
        /*0040*/                   LDGSTS.E.BYPASS.128 [R5], desc[UR8][R2.64] ;
        /*0050*/                   HMMA.16816.F32 R4, R4, R8, RZ ;
        /*0060*/               @P0 BRA `(.L_x_1) ;
        /*0070*/                   LDS.128 R4, [R5] ;
        /*0080*/              @!P1 BRA `(.L_x_9) ;
.L_x_3:
        /*0090*/                   MOV R1, R2 ;
        /*00a0*/               @P2 BRA `(.L_x_3) ;
        /*00b0*/                   BRA `(.L_x_4) ;
.L_x_4:
        /*00c0*/                   EXIT ;
"""
KERNEL = {"registers": 40, "spills": 0, "stack": 0, "shared": 0, "loops": [[100, 16, 16, 2]]}


def numbers(release="13.0", **changed):
    return {"release": release, "hot": {}, "80": {"a.cu rows": KERNEL}, "90a": {"a.cu rows": {**KERNEL, **changed}}}


same("ptxas", NUMBERS.read_ptxas(PTXAS),
     {"_Z4rowsIfEvPT_": {"registers": 40, "spills": 32, "stack": 88, "shared": 1664},
      "_Z4copyPf": {"registers": 8, "spills": 0, "stack": 0, "shared": 0}})
same("loops: the inner ones that load or multiply", NUMBERS.read_sass(SASS), {"_Z4copyPf": [[5, 34, 32, 1]]})
same("names", NUMBERS.plain(["_Z4rowsIfEvPT_", "_Z4copyPf"]), {"_Z4rowsIfEvPT_": "rows<float>", "_Z4copyPf": "copy"})
same("nothing changed", NUMBERS.compare(numbers(), numbers(), True), [])
same("one register", NUMBERS.compare(numbers(), numbers(registers=41), True),
     ["a.cu rows for 90a: registers 41, expected 40"])
same("one fewer: the file is old", len(NUMBERS.compare(numbers(), numbers(registers=39), True)), 1)
same("an instruction", len(NUMBERS.compare(numbers(), numbers(loops=[[101, 16, 16, 2]]), True)), 1)
same("an instruction, unseen", NUMBERS.compare(numbers(), numbers(loops=[]), False), [])
same("another compiler, a quarter", NUMBERS.compare(numbers(), numbers("13.1", registers=50), True), [])
same("another compiler, more", len(NUMBERS.compare(numbers(), numbers("13.1", registers=51), True)), 1)
same("another compiler spills", len(NUMBERS.compare(numbers(), numbers("13.1", spills=4), True)), 1)
same("another compiler's loop", len(NUMBERS.compare(numbers(), numbers("13.1", loops=[[126, 16, 16, 2]]), True)), 1)
same("a kernel without numbers", len(NUMBERS.compare({**numbers(), "80": {}}, numbers(), True)), 1)
same("numbers without a kernel", len(NUMBERS.compare(numbers(), {**numbers(), "80": {}}, True)), 1)
same("threads by registers", NUMBERS.resident({"registers": 128, "shared": 0}, 128), 512)
same("threads by shared memory", NUMBERS.resident({"registers": 32, "shared": 100 << 10}, 256), 512)
sys.exit(1 if FAILED else 0)
