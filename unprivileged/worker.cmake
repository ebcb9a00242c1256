# The worker's start and prison; what the front shares with it.
option(FZGW_CHECKED "Relax the worker's prison for Valgrind; never install such a build" OFF)

add_library(boot STATIC boot.c caps.c stdout_log.c)
target_include_directories(boot PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(boot PUBLIC base ipc PkgConfig::SODIUM PkgConfig::CAPNG PRIVATE fzgw_flags)

add_library(helper_client STATIC helper_client.c)
target_include_directories(helper_client PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(helper_client PUBLIC ipc PRIVATE fzgw_flags)

add_library(sandbox STATIC sandbox.c sandbox_filter.c)
target_include_directories(sandbox PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(sandbox PUBLIC boot PkgConfig::SECCOMP PRIVATE fzgw_flags)
if(FZGW_TRAP)
	target_compile_definitions(sandbox PRIVATE FZGW_TRAP)
endif()
if(FZGW_ASAN OR FZGW_CHECKED)
	target_compile_definitions(sandbox PUBLIC FZGW_CHECKED)
endif()

if(TARGET loop)
	add_executable(firezone-gateway-worker main.c)
	target_link_libraries(firezone-gateway-worker PRIVATE loop sandbox boot helper_client fzgw_flags)
	install(TARGETS firezone-gateway-worker
		RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/firezone-gateway)
endif()
