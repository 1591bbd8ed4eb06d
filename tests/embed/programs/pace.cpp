// Whether a host plays, by a clock that is given:
//
//     pace < TEXT     lines "begin end sound" in seconds, one for each call
//
// prints 1 or 0 for each call.
#include "pace.h"

#include <cstdio>
#include <iostream>

int main() {
  tisdiss::ladspa::Pace pace;
  for (double begin_s, end_s, sound_s; std::cin >> begin_s >> end_s >> sound_s;) {
    pace.begin(begin_s, sound_s);
    std::printf("%d\n", pace.plays());
    pace.end(end_s);
  }
  return 0;
}
