// Who is who in a stream, decided as the sound comes, as tisdiss_rt/talkers/causal.py explains and does it.
#pragma once

#include <vector>

#include "voiceprints.h"
#include "windows.h"

namespace tisdiss::internal {

// Keeps every talker of a stream on one output; for bundles with the part `voice`.
class CausalOrder {
 public:
  explicit CausalOrder(const Sessions& sessions);

  // Forgets the talkers.
  void reset();

  // Whether a block ends with a piece of so many samples, which takes longer than other pieces.
  bool ends_block(size_t samples) const { return heard_ + samples >= block_; }

  // Puts the next `samples` of what was separated into the order of the talkers, in place.
  void put_in_order(const Rows& piece, size_t samples);

 private:
  void hear();
  double weigh();  // fills `counts_` and `active_`; gives how much sound goes on from the block before
  void fit();
  void drop_renamed();  // of the scores: orders that differ from the chosen one in unknown talkers alone
  void learn();

  const VoicePart& part_;
  const size_t sources_, block_;
  const double block_s_;
  const std::vector<float> rising_;
  Voiceprints voiceprints_;       // of the block before and of the newest
  std::vector<Order> orders_;
  size_t heard_ = 0;  // samples of the newest block
  double level_ = 0.0;
  std::vector<double> power_, active_, counts_;  // of each source in the newest block
  std::vector<float> sums_;                      // (talkers, size)
  std::vector<double> known_;                    // blocks of each talker
  std::vector<double> scores_;                   // of the orders
  size_t order_ = 0;                             // among these
  std::vector<double> fits_;                     // of each source to each talker
  std::vector<float> talkers_, points_;          // where they are compared
  std::vector<float> now_;                       // a sample of each source
};

}  // namespace tisdiss::internal
