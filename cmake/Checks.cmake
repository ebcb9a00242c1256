# Checks of the tree's own rules. The include rules are part of every build: a violation fails it.
find_program(FZGW_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
add_custom_target(check_rooms ALL
	COMMAND ${FZGW_PYTHON} -B ${PROJECT_SOURCE_DIR}/tests/checks/rooms.py
	COMMENT "Checking which room includes what"
	VERBATIM)
add_test(NAME check_rooms COMMAND ${FZGW_PYTHON} -B ${PROJECT_SOURCE_DIR}/tests/checks/rooms.py)
set_tests_properties(check_rooms PROPERTIES LABELS checks)
