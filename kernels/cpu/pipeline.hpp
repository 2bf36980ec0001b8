// Pipelines (see below); a stub until they are there.
static void pipeline(const fastact_job *, std::size_t) {}
