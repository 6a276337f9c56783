#include "runtime/scope.h"

namespace reckon {

Context& context() {
  thread_local Context c;
  return c;
}

}  // namespace reckon
