//! Network: one server, and connections to it that deliver late, stand still, break, and never change the order of what they carry.
//!
//! Owns when a message arrives, and what becomes of those on their way when a connection ends. Must not know what is said.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};
use std::time::Duration;

use donjon_core::fault::Fault;
use donjon_core::moment::Moment;
use donjon_core::remote::call::{Call, Reply};

use crate::machine::{Machine, Owner, Slot};
use crate::redis::{Client, Push, Redis};

/// The server, and who is connected.
pub struct Network {
    machine: Rc<Machine>,
    redis: RefCell<Redis>,
    connections: RefCell<BTreeMap<Client, Weak<Connection>>>,
    /// Until when what a process says and hears stands still.
    held: RefCell<BTreeMap<Owner, Moment>>,
    /// Until when nobody can connect.
    down: Cell<Moment>,
    calls: Cell<u64>,
}

/// A connection, as its process knows it.
pub struct Connection {
    owner: Owner,
    client: Client,
    network: Weak<Network>,
    is_open: Cell<bool>,
    /// Whether the server still listens.
    is_heard: Cell<bool>,
    arrives_there: Cell<Moment>,
    arrives_here: Cell<Moment>,
    inbox: RefCell<VecDeque<Message>>,
    bell: RefCell<Slot<()>>,
    asked: RefCell<VecDeque<Slot<Answers>>>,
    moved: Cell<Moment>,
    ended: Slot<()>,
}

type Answers = Result<Vec<Reply>, Fault>;

/// What a connection brings.
pub enum Message {
    /// The answers to what was asked first.
    Replies(Vec<Reply>),
    /// What the server tells without being asked.
    Push(Push),
}

impl Network {
    /// An empty server.
    pub fn new(machine: &Rc<Machine>) -> Rc<Self> {
        Rc::new(Self {
            machine: Rc::clone(machine),
            redis: RefCell::new(Redis::new(machine.now().after(AHEAD))),
            connections: RefCell::default(),
            held: RefCell::default(),
            down: Cell::new(Moment::from_millis(0)),
            calls: Cell::new(0),
        })
    }

    /// What the server's clock says.
    pub fn clock(&self) -> Moment {
        self.machine.now().after(AHEAD)
    }

    /// How many commands were carried out.
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// What the server has, as a replica gets it.
    pub fn copy(&self) -> Redis {
        self.redis.borrow().replica()
    }

    /// A command from outside, at once.
    pub fn command(self: &Rc<Self>, words: &[&str]) -> Reply {
        let client = self.redis.borrow_mut().connect();
        let call = Call::Plain(words.iter().map(|word| word.as_bytes().to_vec().into()).collect());
        let reply = self.carry_out(client, &call);
        self.route();
        reply
    }

    /// The server removes what has ended, as it does now and then.
    pub fn expire(self: &Rc<Self>) {
        let mut redis = self.redis.borrow_mut();
        redis.move_on(self.clock());
        redis.expire();
        drop(redis);
        self.route();
    }

    /// What a process says and hears stands still for so long.
    pub fn hold(&self, owner: Owner, span: Duration) {
        self.held.borrow_mut().insert(owner, self.machine.now().after(span));
    }

    /// Another server takes the place of this one, with what `redis` has; it can be reached after `pause`. What was on its way is lost.
    /// Some connections are not told that they have ended.
    pub fn replace(self: &Rc<Self>, redis: Redis, pause: Duration) {
        *self.redis.borrow_mut() = redis;
        self.down.set(self.machine.now().after(pause));
        let connections: Vec<_> = std::mem::take(&mut *self.connections.borrow_mut()).into_values().collect();
        for connection in connections.iter().filter_map(Weak::upgrade) {
            connection.is_heard.set(false);
            if !self.machine.once_in(8) {
                let at = self.arrival(connection.owner, connection.arrives_here.get());
                self.machine.at(at, move || connection.close());
            }
        }
    }

    /// Cuts one of the connections of a process.
    pub fn cut(&self, owner: Owner) {
        let connections = self.connections.borrow();
        let own: Vec<_> = connections.values().filter_map(Weak::upgrade).filter(|line| line.owner == owner).collect();
        drop(connections);
        if !own.is_empty() {
            own[self.machine.below(own.len() as u64) as usize].close();
        }
    }

    /// A new connection.
    ///
    /// # Errors
    ///
    /// Where the server cannot be reached: nothing was sent.
    pub async fn connect(self: &Rc<Self>, owner: Owner) -> Result<Rc<Connection>, Fault> {
        let asked = self.machine.now();
        let there = self.arrival(owner, asked);
        let patience = asked.after(CONNECT);
        self.machine.sleep(there.min(patience) - asked).await;
        let now = self.machine.now();
        if there > patience || now < self.down.get() {
            return Err(Fault::Unreachable);
        }
        let client = self.redis.borrow_mut().connect();
        let connection = Rc::new(Connection {
            owner,
            client,
            network: Rc::downgrade(self),
            is_open: Cell::new(true),
            is_heard: Cell::new(true),
            arrives_there: Cell::new(now),
            arrives_here: Cell::new(now),
            inbox: RefCell::default(),
            bell: RefCell::default(),
            asked: RefCell::default(),
            moved: Cell::new(now),
            ended: Slot::default(),
        });
        self.connections.borrow_mut().insert(client, Rc::downgrade(&connection));
        Ok(connection)
    }

    /// When something arrives that is sent now by or to a process, behind what arrives at `before`.
    fn arrival(&self, owner: Owner, before: Moment) -> Moment {
        let machine = &self.machine;
        let span = match machine.below(64) {
            0 => machine.micros(2_000, 60_000),
            1..20 => machine.micros(300, 3_000),
            _ => machine.micros(20, 300),
        };
        let held = self.held.borrow().get(&owner).copied().unwrap_or(Moment::from_millis(0));
        machine.now().max(held).after(span).max(before)
    }

    fn carry_out(&self, client: Client, call: &Call) -> Reply {
        self.calls.set(self.calls.get() + 1);
        let mut redis = self.redis.borrow_mut();
        redis.move_on(self.clock());
        redis.call(client, call)
    }

    /// Sends what the server tells on its way.
    fn route(&self) {
        let pushed = self.redis.borrow_mut().pushed();
        for (client, push) in pushed {
            let connection = self.connections.borrow().get(&client).and_then(Weak::upgrade);
            if let Some(connection) = connection {
                self.bring(&connection, Message::Push(push));
            }
        }
    }

    fn bring(&self, connection: &Rc<Connection>, message: Message) {
        let at = self.arrival(connection.owner, connection.arrives_here.get());
        connection.arrives_here.set(at);
        let connection = Rc::clone(connection);
        self.machine.at(at, move || {
            if connection.is_open.get() {
                connection.moved.set(at);
                connection.inbox.borrow_mut().push_back(message);
                connection.bell.borrow().put(());
            }
        });
    }
}

impl Connection {
    /// Whether the process thinks that it can be used.
    pub fn is_open(&self) -> bool {
        self.is_open.get()
    }

    /// Comes when the process finds it ended: for one who waits.
    pub fn ended(&self) -> Slot<()> {
        self.ended.clone()
    }

    /// Sends calls in one go and waits for all of the answers. Whoever serves the connection hands them out.
    ///
    /// # Errors
    ///
    /// [`Fault::Lost`] where the connection ended first, or stood still for too long: the calls may have been carried out, or may still be.
    pub async fn ask(self: &Rc<Self>, calls: &[Call]) -> Result<Vec<Reply>, Fault> {
        let Some(network) = self.network.upgrade().filter(|_| self.is_open.get()) else { return Err(Fault::Lost) };
        let slot = Slot::default();
        self.asked.borrow_mut().push_back(slot.clone());
        let sent = network.machine.now();
        self.moved.set(self.moved.get().max(sent));
        self.send(&network, calls.to_vec());
        self.watch(&network, slot.clone());
        slot.await
    }

    /// Gives the connection up if it stands still while somebody waits.
    fn watch(self: &Rc<Self>, network: &Network, waits: Slot<Answers>) {
        let (connection, machine) = (Rc::clone(self), Rc::clone(&network.machine));
        network.machine.at(machine.now().after(PATIENCE), move || {
            if waits.is_full() || !connection.is_open.get() {
                return;
            }
            if machine.now() - connection.moved.get() >= PATIENCE {
                connection.close();
            } else if let Some(network) = connection.network.upgrade() {
                connection.watch(&network, waits);
            }
        });
    }

    fn send(self: &Rc<Self>, network: &Rc<Network>, calls: Vec<Call>) {
        let mut at = network.arrival(self.owner, self.arrives_there.get());
        // Others may be heard between two commands of one pipeline.
        let is_spread = network.machine.once_in(4);
        let replies = Rc::new(RefCell::new(Vec::with_capacity(calls.len())));
        let last = calls.len() - 1;
        for (place, call) in calls.into_iter().enumerate() {
            if is_spread && place > 0 {
                at = at.after(network.machine.micros(1, 200));
            }
            let (connection, network, replies) = (Rc::clone(self), Rc::clone(network), Rc::clone(&replies));
            network.machine.clone().at(at, move || {
                if !connection.is_heard.get() {
                    return;
                }
                let reply = network.carry_out(connection.client, &call);
                replies.borrow_mut().push(reply);
                if place == last {
                    let replies = replies.take();
                    network.bring(&connection, Message::Replies(replies));
                }
                network.route();
            });
        }
        self.arrives_there.set(at);
    }

    /// The next message; `None` once the connection has ended.
    pub async fn next(&self) -> Option<Message> {
        loop {
            if !self.is_open.get() {
                return None;
            }
            if let Some(message) = self.inbox.borrow_mut().pop_front() {
                return Some(message);
            }
            let bell = Slot::default();
            *self.bell.borrow_mut() = bell.clone();
            bell.await;
        }
    }

    /// Hands answers to who asked first.
    pub fn answer(&self, replies: Vec<Reply>) {
        if let Some(slot) = self.asked.borrow_mut().pop_front() {
            slot.put(Ok(replies));
        }
    }

    /// Ends it, on the side of its process. What was sent may still arrive, unless the server finds out first.
    pub fn close(&self) {
        if !self.is_open.replace(false) {
            return;
        }
        self.bell.borrow().put(());
        self.ended.put(());
        let asked: Vec<_> = self.asked.borrow_mut().drain(..).collect();
        for slot in asked {
            slot.put(Err(Fault::Lost));
        }
        let Some(network) = self.network.upgrade() else { return };
        if network.machine.once_in(2) && self.is_heard.replace(false) {
            network.connections.borrow_mut().remove(&self.client);
            network.redis.borrow_mut().disconnect(self.client);
        }
    }
}

/// The server's clock is not that of the machine.
const AHEAD: Duration = Duration::from_secs(1_700_000_000);

/// How long a connection may take.
const CONNECT: Duration = Duration::from_millis(250);

/// For how long a connection may stand still while somebody waits.
const PATIENCE: Duration = Duration::from_millis(100);
