#include "runtime/events/scope.h"

namespace reckon {

Context& context() {
  thread_local Context c;
  return c;
}

}  // namespace reckon
