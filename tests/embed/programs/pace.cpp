// Whether a host plays, by a clock that is given:
//
//     pace PRIORITY < TEXT     1 or 0 for real-time or none; lines "begin end sound" in seconds, one for each call
//
// prints 1 or 0 for each call.
#include "pace.h"

#include <cstdio>
#include <iostream>
#include <string>

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const bool real_time = arguments[1] == std::string("1");
  tisdiss::ladspa::Pace pace;
  for (double begin_s, end_s, sound_s; std::cin >> begin_s >> end_s >> sound_s;) {
    pace.begin(begin_s, sound_s, real_time);
    std::printf("%d\n", pace.plays());
    pace.end(end_s);
  }
  return 0;
}
