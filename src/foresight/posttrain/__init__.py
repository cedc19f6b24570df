"""Post-training: chat, demonstrations, reward models, reinforcement learning, rules."""
