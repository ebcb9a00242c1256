# fzgw_present(out sources...)
#
# Leaves out, with a warning, a source that is not there yet, so that one room can be worked on while another is being
# written. ./test counts the warning as a failure.
function(fzgw_present out)
	set(present)
	foreach(source ${ARGN})
		if(IS_ABSOLUTE ${source} OR EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${source})
			list(APPEND present ${source})
		else()
			message(WARNING "${CMAKE_CURRENT_SOURCE_DIR}/${source} is not there")
		endif()
	endforeach()
	set(${out} ${present} PARENT_SCOPE)
endfunction()

# fzgw_room(name SOURCES ... [DEPS rooms...] [LIBS libraries...] [HOT])
#
# One static library per room. Headers are included by their path below unprivileged/ ("stun/stun.h"); which room may
# include which is checked by tests/checks/rooms.py. HOT rooms are on every packet's way and build with -O3.
function(fzgw_room name)
	cmake_parse_arguments(ROOM "HOT" "" "SOURCES;DEPS;LIBS" ${ARGN})
	fzgw_present(sources ${ROOM_SOURCES})
	if(NOT sources)
		return()
	endif()
	add_library(${name} STATIC ${sources})
	target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR}/unprivileged)
	target_link_libraries(${name} PUBLIC ${ROOM_DEPS} ${ROOM_LIBS} PRIVATE fzgw_flags)
	set_target_properties(${name} PROPERTIES FZGW_HOT ${ROOM_HOT})
endfunction()

# fzgw_unit_test(name SOURCES ... DEPS rooms... [LIBS ...])
#
# One cmocka program; tests/unit/vectors.h is at hand in each. VECTORS_DIR and RECORDINGS_DIR name the shared data; a test
# finds them by these macros only.
function(fzgw_unit_test name)
	cmake_parse_arguments(UNIT "" "" "SOURCES;DEPS;LIBS" ${ARGN})
	fzgw_present(sources ${UNIT_SOURCES})
	if(NOT sources)
		return()
	endif()
	add_executable(${name} ${sources})
	fzgw_test_program(${name})
	target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/unprivileged
		${PROJECT_SOURCE_DIR}/tests/unit)
	target_compile_definitions(${name} PRIVATE
		VECTORS_DIR="${PROJECT_SOURCE_DIR}/tests/data/vectors"
		RECORDINGS_DIR="${PROJECT_SOURCE_DIR}/tests/data/recordings")
	target_link_libraries(${name} PRIVATE ${UNIT_DEPS} ${UNIT_LIBS} unit_vectors PkgConfig::CMOCKA fzgw_flags)
	add_test(NAME ${name} COMMAND ${name})
	set_tests_properties(${name} PROPERTIES LABELS unit)
endfunction()
