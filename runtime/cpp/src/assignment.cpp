#include "assignment.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "voiceprints.h"

namespace tisdiss::internal {
namespace {

constexpr double kActiveDb = -30.0;  // of the signal's level: what is quieter is silence
constexpr double kDominant = 0.8;    // share of a block's power with which a source stands for itself
constexpr size_t kLongest = 8;       // blocks of a stretch
constexpr size_t kMostStretches = 1500;  // stretches that are grouped; of more, some are taken
constexpr double kChange = 3.0;      // cost of another order in a pause,
constexpr double kChangeInSound = 12.0;  // and what sound adds
constexpr int kRounds = 6;
constexpr double kAlike = 0.6;  // of the distance at which two voices may be one talker's
constexpr double kFewBlocks = 4.0;  // from which voices usually seem twice as far apart as they are,
constexpr double kTooFewBlocks = 12.0;  // and at the worst
constexpr double kResidueShare = 0.1;    // of a block's power: what a source has of a louder voice, or of noise
constexpr double kTogetherShare = 0.12;  // of the sound in which a second voice is louder than that
constexpr size_t kTogether = 16;        // blocks that are described in one go, with one of context on either side
constexpr double kFadeS = 0.016;        // from one order to another
constexpr double kStepS = 0.008;        // of the search for the quietest moment
constexpr double kTiny = 1e-20;

// Numbers of each block and source, and what a block says: `counts` and `active` from 0 to 1.
struct Evidence {
  size_t blocks, sources, size;
  std::vector<float> prints, points;             // (blocks, sources, size)
  std::vector<double> power, active, counts;     // (blocks, sources)

  size_t at(size_t block, size_t source) const { return block * sources + source; }
  const float* print(size_t block, size_t source) const { return prints.data() + at(block, source) * size; }
  const float* point(size_t block, size_t source) const { return points.data() + at(block, source) * size; }
};

// Where one source dominates.
struct Stretch {
  size_t source, begin, end;  // blocks
};

// The sum of voiceprints, and how many blocks it counts for.
struct Pool {
  std::vector<float> sum;
  double count = 0.0;

  void add(const float* print, double weight) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += static_cast<float>(weight * print[i]);
    count += weight;
  }

  void join(const Pool& other) {
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += other.sum[i];
    count += other.count;
  }

  std::vector<float> point() const {
    std::vector<float> point = sum;
    to_point(point.data(), point.size());
    return point;
  }
};

using Talkers = std::vector<std::vector<float>>;  // their points

double apart(const std::vector<float>& one, const std::vector<float>& two) {
  return squared_distance(one.data(), two.data(), one.size());
}

// Describes the voices block by block; beyond their ends is silence.
Evidence describe(const Sessions& sessions, const Rows& voices, size_t samples) {
  const size_t block = block_samples(sessions.manifest);
  Evidence found{(samples + block - 1) / block, voices.count, 0, {}, {}, {}, {}, {}};
  for (size_t first = 0; first < found.blocks; first += kTogether) {
    const size_t count = std::min(kTogether, found.blocks - first);
    Voiceprints voiceprints(sessions, count + 2, block);
    found.size = voiceprints.size;
    for (size_t source = 0; source < voices.count; ++source) {
      float* to = voiceprints.voices(source);
      const size_t before = first == 0 ? block : 0;  // silence
      const size_t begin = first == 0 ? 0 : (first - 1) * block;
      const size_t taken = std::min((count + 2) * block - before, samples - begin);
      std::copy_n(voices.row(source) + begin, taken, to + before);
    }
    voiceprints.run();
    for (size_t i = 1; i <= count; ++i) {
      for (size_t source = 0; source < voices.count; ++source) {
        const float* print = voiceprints.print(i, source);
        const float* sound = voiceprints.voices(source) + i * block;
        found.prints.insert(found.prints.end(), print, print + found.size);
        double power = 0.0;
        for (size_t k = 0; k < block; ++k) power += static_cast<double>(sound[k]) * sound[k];
        found.power.push_back(power / static_cast<double>(block));
      }
    }
  }
  return found;
}

// Weighs the blocks: silence and residues of a louder voice count little.
void weigh(Evidence& found) {
  std::vector<double> total(found.blocks);
  for (size_t i = 0; i < found.power.size(); ++i) total[i / found.sources] += found.power[i];
  const double sum = std::accumulate(total.begin(), total.end(), 0.0);
  const double level = std::inner_product(total.begin(), total.end(), total.begin(), 0.0) / (sum + kTiny);
  for (size_t i = 0; i < found.power.size(); ++i) {
    const double active = found.power[i] / (found.power[i] + level * std::pow(10.0, kActiveDb / 10) + kTiny);
    found.active.push_back(active);
    found.counts.push_back(active * found.power[i] / (total[i / found.sources] + kTiny));
  }
  found.points = found.prints;
  for (size_t i = 0; i < found.power.size(); ++i) to_point(found.points.data() + i * found.size, found.size);
}

// So many whole numbers from `first` to `last`, evenly spread.
std::vector<size_t> spread(size_t first, size_t last, size_t count) {
  std::vector<size_t> numbers;
  for (size_t i = 0; i < count; ++i) {
    const double step = static_cast<double>(last - first) / static_cast<double>(count - 1);
    numbers.push_back(static_cast<size_t>(std::nearbyint(static_cast<double>(first) + static_cast<double>(i) * step)));
  }
  return numbers;
}

std::vector<Stretch> stretches_of(const Evidence& evidence) {
  std::vector<Stretch> found;
  for (size_t source = 0; source < evidence.sources; ++source) {
    const auto dominates = [&](size_t block) { return evidence.counts[evidence.at(block, source)] > kDominant; };
    for (size_t begin = 0; begin < evidence.blocks; ++begin) {
      if (!dominates(begin)) continue;
      size_t end = begin;
      while (end < evidence.blocks && dominates(end)) ++end;
      const std::vector<size_t> cuts = spread(begin, end, (end - begin + kLongest - 1) / kLongest + 1);
      for (size_t i = 0; i + 1 < cuts.size(); ++i) found.push_back({source, cuts[i], cuts[i + 1]});
      begin = end;
    }
  }
  const auto earlier = [](const Stretch& one, const Stretch& two) { return one.begin < two.begin; };
  std::stable_sort(found.begin(), found.end(), earlier);
  return found;
}

std::vector<Pool> pooled(const Evidence& evidence, const std::vector<Stretch>& all) {
  std::vector<Stretch> stretches = all;
  if (all.size() > kMostStretches) {
    stretches.clear();
    for (const size_t i : spread(0, all.size() - 1, kMostStretches)) stretches.push_back(all[i]);
  }
  std::vector<Pool> pools;
  for (const Stretch& stretch : stretches) {
    pools.push_back({std::vector<float>(evidence.size), 0.0});
    for (size_t block = stretch.begin; block < stretch.end; ++block) {
      pools.back().add(evidence.print(block, stretch.source), evidence.counts[evidence.at(block, stretch.source)]);
    }
  }
  return pools;
}

// Joins pools until so many are left, those first whose union spreads least (Ward's method).
std::vector<Pool> grouped(std::vector<Pool> pools, size_t groups) {
  const size_t count = pools.size();
  const float kNever = std::numeric_limits<float>::infinity();
  std::vector<float> cost(count * count, kNever);
  std::vector<bool> gone(count);
  std::vector<std::vector<float>> points;
  for (const Pool& pool : pools) points.push_back(pool.point());
  const auto renew = [&](size_t row) {
    for (size_t other = 0; other < count; ++other) {
      const bool alive = other != row && !gone[other];
      const double weight = pools[row].count * pools[other].count / (pools[row].count + pools[other].count);
      const double spread = alive ? weight * apart(points[row], points[other]) : kNever;
      cost[row * count + other] = cost[other * count + row] = static_cast<float>(spread);
    }
  };
  for (size_t row = 0; row < count; ++row) renew(row);
  for (size_t left = count; left > groups; --left) {
    const auto best = static_cast<size_t>(std::min_element(cost.begin(), cost.end()) - cost.begin());
    const size_t kept = best / count, joined = best % count;
    pools[kept].join(pools[joined]);
    points[kept] = pools[kept].point();
    gone[joined] = true;
    for (size_t i = 0; i < count; ++i) cost[joined * count + i] = cost[i * count + joined] = kNever;
    renew(kept);
  }
  std::vector<Pool> found;
  for (size_t i = 0; i < count; ++i) {
    if (!gone[i]) found.push_back(pools[i]);
  }
  return found;
}

// Whether two are heard at once: louder than a residue, and not only in moments.
bool are_together(const Evidence& evidence) {
  double heard = 0.0, together = 0.0;
  for (size_t block = 0; block < evidence.blocks; ++block) {
    double loudest = 0.0, first = 0.0, second = 0.0;
    for (size_t source = 0; source < evidence.sources; ++source) {
      const double active = evidence.active[evidence.at(block, source)];
      loudest = std::max(loudest, active);
      if (evidence.counts[evidence.at(block, source)] <= kResidueShare * active) continue;
      second = std::max(second, std::min(first, active));
      first = std::max(first, active);
    }
    heard += loudest;
    together += second;
  }
  return together >= kTogetherShare * heard;
}

// The most likely order of each block, by how well sources fit talkers (Viterbi).
std::vector<size_t> best_path(const Evidence& evidence, const Talkers& talkers, double certainty,
                              const std::vector<Order>& orders) {
  std::vector<double> best(orders.size());
  std::vector<std::vector<size_t>> came(evidence.blocks, std::vector<size_t>(orders.size()));
  for (size_t block = 0; block < evidence.blocks; ++block) {
    std::vector<double> reached = best;
    for (size_t to = 0; block > 0 && to < orders.size(); ++to) {
      reached[to] = -std::numeric_limits<double>::infinity();
      for (size_t from = 0; from < orders.size(); ++from) {
        double change = 0.0;  // that of the source whose change of talker costs most
        for (size_t talker = 0; talker < talkers.size(); ++talker) {
          if (orders[from][talker] == orders[to][talker]) continue;
          for (const size_t source : {orders[from][talker], orders[to][talker]}) {
            const double now = evidence.active[evidence.at(block, source)];
            const double before = evidence.active[evidence.at(block - 1, source)];
            change = std::max(change, kChange + kChangeInSound * std::min(now, before));
          }
        }
        if (best[from] - change > reached[to]) {
          reached[to] = best[from] - change;
          came[block][to] = from;
        }
      }
    }
    for (size_t order = 0; order < orders.size(); ++order) {
      for (size_t talker = 0; talker < talkers.size(); ++talker) {
        const size_t source = orders[order][talker];
        const double distance = squared_distance(evidence.point(block, source), talkers[talker].data(), evidence.size);
        reached[order] -= certainty * evidence.counts[evidence.at(block, source)] * distance;
      }
    }
    best = reached;
  }
  std::vector<size_t> path(evidence.blocks);
  path.back() = static_cast<size_t>(std::max_element(best.begin(), best.end()) - best.begin());
  for (size_t block = evidence.blocks - 1; block > 0; --block) path[block - 1] = came[block][path[block]];
  return path;
}

// Learns the talkers from what each has of the blocks; who has none is as before.
Talkers learnt(const Evidence& evidence, const std::vector<size_t>& path, const std::vector<Order>& orders,
               const Talkers& before) {
  Talkers talkers = before;
  for (size_t talker = 0; talker < talkers.size(); ++talker) {
    Pool pool{std::vector<float>(evidence.size), 0.0};
    for (size_t block = 0; block < evidence.blocks; ++block) {
      const size_t source = orders[path[block]][talker];
      pool.add(evidence.print(block, source), std::pow(evidence.counts[evidence.at(block, source)], 2));
    }
    if (pool.count > 0) talkers[talker] = pool.point();
  }
  return talkers;
}

// The order of each block; none where all voices are one talker's.
std::optional<std::vector<Order>> assign(const Evidence& evidence, const VoicePart& part) {
  const std::vector<Order> orders = all_orders(evidence.sources);
  const std::vector<Order> as_it_is(evidence.blocks, orders[0]);
  const std::vector<Pool> pools = pooled(evidence, stretches_of(evidence));
  if (pools.size() < evidence.sources) return as_it_is;
  Talkers talkers;
  double least = std::numeric_limits<double>::infinity(), farthest = 0.0;
  for (const Pool& pool : grouped(pools, evidence.sources)) {
    least = std::min(least, pool.count);
    talkers.push_back(pool.point());
    for (const auto& other : talkers) farthest = std::max(farthest, apart(talkers.back(), other));
  }
  const double distance = farthest / (kAlike * part.same);
  const bool together = are_together(evidence);
  if (!together && distance < 1 + kFewBlocks / least) return std::nullopt;
  if (distance < (together ? 0.5 : 1.0) + kTooFewBlocks / least) return as_it_is;
  std::vector<size_t> path;
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<size_t> before = path;
    path = best_path(evidence, talkers, part.certainty, orders);
    talkers = learnt(evidence, path, orders, talkers);
    if (path == before) break;
  }
  std::vector<Order> found;
  for (const size_t order : path) found.push_back(orders[order]);
  return found;
}

// Where, around a boundary of two blocks, a fade meets the least sound.
size_t quietest(const Rows& voices, size_t samples, size_t boundary, size_t block, size_t fade, size_t step) {
  const size_t begin = std::max(boundary + fade, block / 2) - block / 2;
  const size_t end = std::min(boundary + block / 2 - fade, samples);
  std::vector<double> loud;  // of each step
  for (size_t at = begin; at + step <= end; at += step) {
    double power = 0.0;
    for (size_t i = at; i < at + step; ++i) {
      for (size_t row = 0; row < voices.count; ++row) power += std::pow(static_cast<double>(voices.row(row)[i]), 2);
    }
    loud.push_back(power);
  }
  if (loud.size() < 2) return std::min(boundary, samples);
  size_t best = 0;
  for (size_t i = 1; i + 1 < loud.size(); ++i) {
    if (loud[i] + loud[i + 1] < loud[best] + loud[best + 1]) best = i;
  }
  return begin + step * best;
}

void put_in_order(const Rows& voices, size_t samples, const std::vector<Order>& orders, const Manifest& manifest) {
  const auto in_samples = [&](double s) { return static_cast<size_t>(std::nearbyint(s * manifest.sample_rate)); };
  const size_t block = block_samples(manifest), step = in_samples(kStepS);
  const std::vector<float> rising = fade_in(in_samples(kFadeS));
  std::vector<std::pair<size_t, const Order*>> starts = {{0, &orders[0]}};
  for (size_t i = 1; i < orders.size(); ++i) {
    if (orders[i] == orders[i - 1]) continue;
    starts.emplace_back(quietest(voices, samples, i * block, block, rising.size(), step), &orders[i]);
  }
  starts.emplace_back(samples, nullptr);
  std::vector<float> column(voices.count);
  for (size_t part = 0; part + 1 < starts.size(); ++part) {
    const auto [begin, order] = starts[part];
    for (size_t i = begin; i < starts[part + 1].first; ++i) {
      for (size_t row = 0; row < voices.count; ++row) column[row] = voices.row(row)[i];
      for (size_t row = 0; row < voices.count; ++row) {
        float value = column[(*order)[row]];
        if (part > 0 && i - begin < rising.size()) {
          const float old = column[(*starts[part - 1].second)[row]];
          value = old + rising[i - begin] * (value - old);
        }
        voices.row(row)[i] = value;
      }
    }
  }
}

}  // namespace

bool settle(const Sessions& sessions, const Rows& voices, size_t samples) {
  Evidence evidence = describe(sessions, voices, samples);
  weigh(evidence);
  const auto orders = assign(evidence, *sessions.manifest.voice);
  if (orders) {
    put_in_order(voices, samples, *orders, sessions.manifest);
    return false;
  }
  for (size_t row = 1; row < voices.count; ++row) {
    for (size_t i = 0; i < samples; ++i) voices.row(0)[i] += voices.row(row)[i];
    std::fill_n(voices.row(row), samples, 0.0f);
  }
  return true;
}

}  // namespace tisdiss::internal
