# Compiler and linker flags of every target, as one interface library: targets carry their flags, directories do not.
include(CheckCCompilerFlag)
include(CheckIPOSupported)

add_library(fzgw_flags INTERFACE)
target_compile_definitions(fzgw_flags INTERFACE _GNU_SOURCE)

function(fzgw_flag flag)
	string(MAKE_C_IDENTIFIER "HAVE_FLAG${flag}" var)
	check_c_compiler_flag("-Werror ${flag}" ${var})
	if(${var})
		target_compile_options(fzgw_flags INTERFACE ${flag})
	endif()
endfunction()

foreach(flag
	-Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wundef -Wstrict-prototypes
	-Wmissing-prototypes -Wold-style-definition -Wcast-qual -Wcast-align=strict -Wformat=2 -Wvla -Walloca
	-Wswitch-enum -Wduplicated-cond -Wlogical-op -Wwrite-strings -Wimplicit-fallthrough
	-fstack-protector-strong -fstack-clash-protection -fcf-protection=full -ftrivial-auto-var-init=zero
	-fno-plt)
	fzgw_flag(${flag})
endforeach()
# Not for tests: the optimiser does not know that cmocka's assertions do not return.
check_c_compiler_flag("-Werror -Wnull-dereference" HAVE_NULL_DEREFERENCE)
if(HAVE_NULL_DEREFERENCE)
	target_compile_options(fzgw_flags INTERFACE
		$<$<NOT:$<BOOL:$<TARGET_PROPERTY:FZGW_TEST>>>:-Wnull-dereference>)
endif()
target_compile_options(fzgw_flags INTERFACE -Werror -g)

if(CMAKE_BUILD_TYPE STREQUAL "Debug")
	target_compile_options(fzgw_flags INTERFACE -O1)
else()
	# A room on every packet's way sets the property FZGW_HOT: see fzgw_room().
	target_compile_options(fzgw_flags INTERFACE $<IF:$<BOOL:$<TARGET_PROPERTY:FZGW_HOT>>,-O3,-O2>)
endif()

if(FZGW_ASAN)
	target_compile_options(fzgw_flags INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all
		-fno-omit-frame-pointer)
	target_link_options(fzgw_flags INTERFACE -fsanitize=address,undefined)
else()
	target_compile_options(fzgw_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
if(FZGW_COVERAGE)
	target_compile_options(fzgw_flags INTERFACE -fprofile-instr-generate -fcoverage-mapping)
	target_link_options(fzgw_flags INTERFACE -fprofile-instr-generate)
endif()
if(FZGW_FUZZ)
	target_compile_options(fzgw_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

target_compile_options(fzgw_flags INTERFACE -fPIE)
target_link_options(fzgw_flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code)

if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT FZGW_ASAN)
	check_ipo_supported(RESULT FZGW_LTO LANGUAGES C OUTPUT lto_output)
	set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ${FZGW_LTO})
	# Objects that can be linked both ways: the programs with link-time optimisation, the many tests without.
	if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
		set(CMAKE_C_COMPILE_OPTIONS_IPO -flto=auto -ffat-lto-objects)
	endif()
endif()
# CMake's own per-configuration -O flags would come after ours.
foreach(config DEBUG RELEASE)
	set(CMAKE_C_FLAGS_${config} "")
endforeach()

# A test or fuzz program: what it proves does not need link-time optimisation, which would cost minutes for all of them.
function(fzgw_test_program name)
	set_target_properties(${name} PROPERTIES FZGW_TEST ON)
	if(FZGW_LTO AND CMAKE_C_COMPILER_ID STREQUAL "GNU")
		set_target_properties(${name} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
		target_link_options(${name} PRIVATE -fno-lto)
	endif()
endfunction()
